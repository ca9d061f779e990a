"""Which runtimes a shim needs for the models that the user names. Opens no socket, loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conch_ollama.errors import NotFoundError, UsageError
from conch_ollama.runtimes.bounds import USUAL, Bounds
from conch_ollama.server.settings import Settings

if TYPE_CHECKING:
    from conch_ollama.runtimes.llama_models import LlamaCppModel
    from conch_ollama.runtimes.protocol import Runtime

LLAMA = "llama.cpp"
#: The other binding of llama.cpp, for people who compiled it for their GPU: one answer at a time.
BINDING = "llama-cpp-python"


@dataclass(frozen=True)
class OllamaPlan:
    """Models of an Ollama. `host` as OLLAMA_HOST is written; None: the one on this machine."""

    host: str | None = None


@dataclass(frozen=True)
class UpstreamPlan:
    """Models behind URLs that speak OpenAI's dialect. `api_version` makes it Azure's."""

    urls: tuple[str, ...]
    key: str | None = field(default=None, repr=False)
    api_version: str | None = None


@dataclass(frozen=True)
class ServePlan:
    """Settings, and what runs behind them: GGUFs in llama.cpp, Ollamas and upstreams by the runtime's name.

    `bounds`: of llama.cpp's workers; `load_first`: runtime and model to load at once.
    """

    settings: Settings
    llama: tuple[LlamaCppModel, ...] = ()
    bounds: Bounds = USUAL
    others: Mapping[str, OllamaPlan | UpstreamPlan] = field(default_factory=dict)
    load_first: tuple[str, str] | None = None

    def start(
        self, running: Mapping[str, Runtime] | None = None, before: ServePlan | None = None
    ) -> dict[str, Runtime]:
        """The runtimes of this plan. Of those `running` by the plan `before`, unchanged ones are kept with their
        answers; llama.cpp's takes over its new models."""
        running = running or {}
        kept = before.others if before is not None else {}
        others = {
            name: running[name] if name in running and kept.get(name) == plan else _made(plan)
            for name, plan in self.others.items()
        }
        # Last: what can't be made must not have changed what runs.
        runtimes = ({LLAMA: self._llama(running.get(LLAMA))} if self.llama else {}) | others
        if not runtimes:
            raise UsageError("there is no model to serve", hint="name a folder, a GGUF, or a model in Ollama")
        return runtimes

    def _llama(self, running: Runtime | None) -> Runtime:
        from conch_ollama.runtimes.llama_server import LlamaCppRuntime

        if isinstance(running, LlamaCppRuntime):
            running.update(self.llama, self.bounds)
            return running
        return LlamaCppRuntime(self.llama, self.bounds)

    def describe(self, runtimes: Mapping[str, Runtime]) -> list[str]:
        """What was chosen, for the start."""
        from conch_ollama.runtimes.llama_server import LlamaCppRuntime

        found = runtimes.get(LLAMA)
        return found.describe() if isinstance(found, LlamaCppRuntime) else []


def _made(plan: OllamaPlan | UpstreamPlan) -> Runtime:
    if isinstance(plan, OllamaPlan):
        from conch_ollama.ollama.address import resolve_host
        from conch_ollama.runtimes.ollama import OllamaRuntime

        return OllamaRuntime(resolve_host(plan.host))
    from conch_ollama.runtimes.openai_url import OpenAIRuntime
    from conch_ollama.runtimes.upstreams import Upstream

    return OpenAIRuntime([Upstream(url, key=plan.key, api_version=plan.api_version) for url in plan.urls])


def llama_model(path: Path, *, name: str | None = None, **wishes: Any) -> LlamaCppModel:
    """A model of an exported folder, a Modelfile or a GGUF. `wishes`: fields of LlamaCppModel that the user sets.

    Raises NotFoundError, BadFileError.
    """
    from conch_ollama.runtimes.llama_models import Adapter, LlamaCppModel
    from conch_ollama.workflows.folders import open_export_folder

    given = {key: value for key, value in wishes.items() if value is not None}
    if given.get("binding") == BINDING:
        given.setdefault("slots", 1)
    if not path.exists():
        raise NotFoundError(f"no such file or folder: {path}", hint="`conch export` writes one")
    if path.is_file() and path.suffix == ".gguf":
        return LlamaCppModel(name or path.stem, path, **given)
    exported = open_export_folder(path)
    parameters = dict(exported.modelfile.parameters)
    num_ctx = int(parameters.pop("num_ctx", 0))  # type: ignore[arg-type]
    options = parameters | dict(given.pop("options", {}))
    if exported.adapter is not None:
        given.setdefault("adapters", (Adapter(exported.adapter),))
    return LlamaCppModel(
        name or exported.name,
        exported.gguf,
        **{"num_ctx": num_ctx, "system": exported.modelfile.system or "", **given, "options": options},
    )


def plan_target(
    target: str | None,
    settings: Settings,
    *,
    runtime: str | None = None,
    host: str | None = None,
    upstream: Sequence[str] = (),
    key: str | None = None,
    name: str | None = None,
    memory: int | None = None,
    **wishes: Any,
) -> ServePlan:
    """A plan for one model that the user names, or for all of an Ollama or an upstream where none is named.

    `runtime`: "llama.cpp", "llama-cpp-python", "ollama", "openai"; None: by what `target` is. `memory` (bytes, see
    Bounds) and `wishes` (see llama_model) are for what llama.cpp serves, `host` for Ollama, `upstream` and `key` for
    "openai"; UsageError for them at another runtime.
    """
    binding = {"binding": BINDING} if runtime == BINDING else {}
    if binding:
        runtime = LLAMA
    kind = runtime or ("openai" if upstream else LLAMA if target and _is_path(target) else "ollama")
    heard = {
        LLAMA: {**wishes, "memory": memory},
        "ollama": {"host": host},
        "openai": {"upstream": list(upstream) or None, "upstream_key_env": key},
    }
    for other, options in heard.items():
        unheard = [f"--{option.replace('_', '-')}" for option, value in options.items() if value is not None]
        if other != kind and unheard:
            raise UsageError(f"{', '.join(unheard)}: only for the {other} runtime, not for {kind}")
    if kind == LLAMA:
        if target is None:
            raise UsageError("which folder or GGUF?", hint="conch serve out/")
        model = llama_model(Path(target), name=name, **wishes, **binding)
        return ServePlan(settings, llama=(model,), bounds=Bounds(memory=memory), load_first=(LLAMA, model.name))
    plan: OllamaPlan | UpstreamPlan = OllamaPlan(host)
    if kind == "openai":
        if not upstream:
            raise UsageError("the openai runtime needs a URL", hint="--upstream http://host:8000/v1")
        plan = UpstreamPlan(tuple(upstream), key)
    first = (kind, target) if kind == "ollama" and target is not None else None
    return ServePlan(_only(settings, kind, target, name), others={kind: plan}, load_first=first)


def _is_path(target: str) -> bool:
    return target.endswith(".gguf") or Path(target).exists()


def _only(settings: Settings, runtime: str, target: str | None, name: str | None) -> Settings:
    from dataclasses import replace

    from conch_ollama.server.settings import ModelSettings

    if target is None:
        return settings
    return replace(settings, models={name or target: ModelSettings(runtime, target)})
