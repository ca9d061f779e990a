"""conch.toml: models, keys, limits, aliases as a plan to serve; read anew when the file has changed.

A key that is not known is an error that names it: a misspelt `networks` must not open a model to everybody.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conch_ollama.errors import BadConfigError, NotFoundError, UsageError
from conch_ollama.runtimes.bounds import USUAL, Bounds
from conch_ollama.runtimes.protocol import CAPABILITIES
from conch_ollama.server.keys import parse_network
from conch_ollama.server.settings import (
    Audit,
    Limits,
    ModelSettings,
    Route,
    Security,
    Settings,
    TokenSettings,
)
from conch_ollama.workflows.serve_models import LLAMA, OllamaPlan, ServePlan, UpstreamPlan, llama_model
from conch_ollama.workflows.sizes import byte_count
from conch_ollama.workflows.toml_tables import Table

#: What may be said of a model behind a URL; "completion" each of them has anyway.
_CAPABILITIES = frozenset(CAPABILITIES) - {"completion"}
Overlay = Callable[[ServePlan], ServePlan]


class ConfigFile:
    """One conch.toml. `overlay` puts the command line's options over what it says."""

    def __init__(self, path: Path, overlay: Overlay = lambda plan: plan) -> None:
        self.path = path
        self._overlay = overlay
        self._stamp: tuple[int, int] | None = None

    def read(self) -> ServePlan:
        """The plan that it holds now. Raises NotFoundError, BadConfigError, and what its models raise."""
        try:
            self._stamp = self._stat()
            found = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError as err:
            raise NotFoundError(f"no such configuration: {self.path}") from err
        except (OSError, ValueError) as err:
            raise BadConfigError(f"{self.path} can't be read: {err}") from err
        try:
            plan = plan_of(Table(found), self.path.parent)
        except UsageError as err:
            raise BadConfigError(f"{self.path}: {err.message}", hint=err.hint) from err
        return self._overlay(plan)

    def reread(self) -> ServePlan | None:
        """The plan if the file has changed since it was last looked at, whatever came of that."""
        try:
            changed = self._stat() != self._stamp
        except OSError:
            return None  # an editor may be in the middle of writing it, or the disk away for a while
        return self.read() if changed else None

    def _stat(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_mtime_ns, found.st_size


def plan_of(table: Table, folder: Path) -> ServePlan:
    """The plan of a parsed conch.toml; its paths are from `folder`. Raises UsageError, which names the key."""
    defaults = Settings()
    limits = table.table("limits").fill(Limits)
    security = _security(table.table("security"), folder)
    audit = table.table("audit")
    models, plan = _models(table.table("models"), folder)
    llama = table.table("llama")
    settings = Settings(
        host=table.take("host", str, defaults.host),
        port=table.take("port", int, defaults.port),
        limits=limits,
        security=security,
        audit=Audit(_path(audit.take("file", str), folder), audit.take("texts", bool, False)),
        models=models,
        routes=_routes(table.table("aliases"), models),
        reasoning_field=table.take("reasoning_field", str, defaults.reasoning_field),
        feedback=_path(table.take("feedback", str), folder),
        default_model=table.take("default_model", str),
    )
    bounds = Bounds(
        max_loaded=llama.take("max_loaded", int, USUAL.max_loaded),
        memory=byte_count(llama.take("memory", (str, int))),
        hung_s=llama.take("hung_s", float, USUAL.hung_s),
    )
    if bounds.max_loaded < 1:
        raise UsageError("llama.max_loaded must be 1 at least")
    if bounds.hung_s < 0:
        raise UsageError("llama.hung_s must not be negative", hint="0 never ends a worker that is silent")
    plan = dataclasses.replace(plan, settings=settings, bounds=bounds)
    for part in (table, audit, llama):
        part.end()
    return plan


def _path(text: str | None, folder: Path) -> Path | None:
    return None if text is None else folder / Path(text).expanduser()


def _security(table: Table, folder: Path) -> Security:
    tokens = table.tables.pop("jwt", None)
    made = Security(
        keys=_path(table.take("keys", str), folder),
        tokens=None if tokens is None else _tokens(tokens, folder),
        networks=tuple(parse_network(text) for text in table.texts("networks")),
        network_models=table.texts("network_models", ("*",)),
        network_rate=table.take("network_rate", int),
        hosts=table.texts("hosts"),
        origins=table.texts("origins"),
        proxies=tuple(parse_network(text) for text in table.texts("proxies")),
        insecure=table.take("insecure", bool, False),
        tls_cert=_path(table.take("tls_cert", str), folder),
        tls_key=_path(table.take("tls_key", str), folder),
    )
    table.end()
    return made


def _tokens(table: Table, folder: Path) -> TokenSettings:
    jwks = table.take("jwks", str)
    made = TokenSettings(
        algorithms=table.texts("algorithms"),
        audience=table.take("audience", str, ""),
        issuer=table.take("issuer", str),
        secret=_secret(table, "secret"),
        jwks=jwks if jwks is None or "://" in jwks else str(folder / jwks),
        leeway_s=table.take("leeway_s", float, 10.0),
        name_claim=table.take("name_claim", str, "sub"),
        models_claim=table.take("models_claim", str, "models"),
        models=table.texts("models", ("*",)),
        rate=table.take("rate", int),
    )
    table.end()
    return made


def _secret(table: Table, name: str) -> str | None:
    """A secret's text, from the environment: a configuration is copied and shown."""
    variable = table.take(f"{name}_env", str)
    if variable is None:
        return None
    found = os.environ.get(variable)
    if not found:
        raise UsageError(f"{table.name}: the environment variable {variable} is not set")
    return found


def _models(table: Table, folder: Path) -> tuple[dict[str, ModelSettings], ServePlan]:
    settings: dict[str, ModelSettings] = {}
    llama = []
    others: dict[str, OllamaPlan | UpstreamPlan] = {}
    for name in list(table.tables):
        one = table.table(name)
        kinds = [key for key in ("path", "ollama", "upstream") if key in one]
        if len(kinds) != 1:
            raise UsageError(f"{one.name}: one of path, ollama and upstream must say what it is")
        runtime, model = LLAMA, name
        if kinds == ["path"]:
            llama.append(_llama(one, name, folder))
        elif kinds == ["ollama"]:
            model = one.take("ollama", str, "")
            plan = OllamaPlan(one.take("host", str))
            runtime = _named(others, f"ollama {plan.host or ''}".strip(), plan)
        else:
            upstream = UpstreamPlan(one.texts("upstream"), _secret(one, "key"), one.take("api_version", str))
            model = one.take("model", str, name)
            hosts = " ".join(urlsplit(url).hostname or url for url in upstream.urls)
            runtime = _named(others, f"openai {hosts}", upstream)
        settings[name] = ModelSettings(
            runtime,
            model,
            networks=tuple(parse_network(text) for text in one.texts("networks")),
            parallel=one.take("parallel", int),
            queue=one.take("queue", int),
            system=None if kinds == ["path"] else one.take("system", str),
            defaults=one.take("defaults", dict, {}),
            capabilities=_capabilities(one) if kinds == ["upstream"] else frozenset(),
        )
        one.end()
    table.end()
    if not settings:
        raise UsageError("[models] names no model")
    return settings, ServePlan(Settings(), tuple(llama), others=others)


def _capabilities(table: Table) -> frozenset[str]:
    """What models behind a URL can do: OpenAI's dialect has no word for it."""
    given = frozenset(table.texts("capabilities"))
    unknown = given - _CAPABILITIES
    if unknown:
        raise UsageError(f"{table.name}.capabilities: {min(unknown)!r} is none of {', '.join(sorted(_CAPABILITIES))}")
    return given


def _named(others: dict[str, OllamaPlan | UpstreamPlan], name: str, plan: OllamaPlan | UpstreamPlan) -> str:
    """Put a plan among the others: equal ones share a runtime, others of the same name are numbered."""
    wanted, number = name, 1
    while others.setdefault(wanted, plan) != plan:
        number += 1
        wanted = f"{name} #{number}"
    return wanted


def _llama(table: Table, name: str, folder: Path) -> Any:
    from conch_ollama.runtimes.llama_models import Adapter
    from conch_ollama.workflows.serve_options import seconds

    path = _path(table.take("path", str), folder)
    adapters = []
    for one in table.lists("adapters"):
        file = _path(one.take("path", str), folder)
        if file is None:
            raise UsageError(f"{one.name}: path is missing")
        adapters.append(Adapter(file, one.take("scale", float, 1.0)))
        one.end()
    wishes: dict[str, Any] = {key: table.take(key, int) for key in ("num_ctx", "threads", "slots", "gpu_layers")}
    wishes["keep_alive"] = seconds(table.take("keep_alive", (str, int, float)))
    wishes["binding"] = table.take("binding", str)
    wishes["options"] = table.take("options", dict)
    wishes["system"] = table.take("system", str)
    wishes["version"] = table.take("version", str) or name.partition("@")[2] or None
    wishes["adapters"] = tuple(adapters) or None
    assert path is not None  # noqa: S101 - the caller saw it
    return llama_model(path, name=name, **wishes)


def _routes(table: Table, models: Mapping[str, ModelSettings]) -> tuple[Route, ...]:
    """`alias = "model"`, or a list of tables with `model` and `keys`: the first that fits the caller."""
    routes = []
    for alias in list(table.values):
        value = table.values.pop(alias)
        if isinstance(value, str):
            routes.append(Route(alias, value))
            continue
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise UsageError(f"aliases.{alias}: a model's name, or a list of tables with model and keys")
        for number, part in enumerate(value):
            one = Table(part, f"aliases.{alias}[{number}]")
            routes.append(Route(alias, one.take("model", str, ""), one.texts("keys")))
            one.end()
    table.end()
    for route in routes:
        if route.model not in models:
            raise UsageError(f"aliases.{route.alias}: there is no model {route.model!r}")
    return tuple(routes)
