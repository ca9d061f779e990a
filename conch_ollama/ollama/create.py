"""Creates one model in Ollama so that an older one of its name stays as it was until the new one is what was meant.

Under a name of its own it is created, shown, compared and checked, and only then copied to its name. What the server's
detection adds is overridden here. Decides nothing about what the model is to be.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conch_ollama.errors import NotFoundError, OllamaError
from conch_ollama.ollama.blobs import Progress, upload
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.names import ModelName
from conch_ollama.ollama.parameters import DEFAULTS
from conch_ollama.ollama.show import ModelInfo
from conch_ollama.ollama.verify import Difference, Meant, differences, mismatch

_NEW, _OLD = "-conch-new", "-conch-old"
#: Called with the name under which the model can be asked, and what the server shows; raises to stop it all.
Check = Callable[[str, ModelInfo], None]


@dataclass(frozen=True)
class Blob:
    """A GGUF: the name that the server sees, its sha256 (hex), where it is here; None: the server has it."""

    name: str
    sha256: str
    path: Path | None = None


@dataclass(frozen=True)
class Creation:
    """`meant` is what `show` must show in the end. `files`: the model's GGUF first, then its projectors."""

    server: OllamaClient
    name: ModelName
    meant: Meant
    files: tuple[Blob, ...]
    adapters: tuple[Blob, ...] = ()
    license: tuple[str, ...] = ()
    engine: Mapping[str, str] = field(default_factory=dict)
    check: Check | None = None
    progress: Progress | None = None


def create(work: Creation, *, replaces: bool) -> ModelInfo:
    """Creates the model; `replaces`: there is one of that name. Raises OllamaError's kin and what `check` raises."""
    server, name = work.server, work.name
    unproven, backup = name.with_tag_suffix(_NEW), name.with_tag_suffix(_OLD)
    for blob in (*work.files, *work.adapters):
        if blob.path is not None:
            upload(server, blob.path, blob.sha256, work.progress)
    try:
        work, info, found = _created(work, unproven)
        if found:
            raise mismatch(str(name), server.host, found)
        if work.check is not None:
            work.check(str(unproven), info)
        _take_name(server, unproven, name, backup if replaces else None)
        return info
    finally:
        with contextlib.suppress(OllamaError, NotFoundError):  # the error that led here says more
            server.delete(str(unproven))


def _created(work: Creation, name: ModelName) -> tuple[Creation, ModelInfo, list[Difference]]:
    """Once more with Ollama's defaults, where detection added parameters: they can't be left out, only set."""
    for _ in range(2):
        for _ in work.server.create(str(name), **_request(work)):
            pass
        info = work.server.show(str(name))
        found = differences(work.meant, info)
        added = [one.key.removeprefix("PARAMETER ") for one in found if one.is_added]
        defaults = {key: DEFAULTS[key] for key in added if key in DEFAULTS}
        if not defaults:
            break
        work = replace(work, meant=replace(work.meant, parameters={**work.meant.parameters, **defaults}))
    return work, info, found


def _take_name(server: OllamaClient, new: ModelName, name: ModelName, backup: ModelName | None) -> None:
    """Copies `new` to `name`. Deleting the backup makes the server drop the old model's files."""
    if backup is not None:
        server.copy(str(name), str(backup))
    try:
        server.copy(str(new), str(name))
    except BaseException:
        if backup is not None:
            with contextlib.suppress(OllamaError):
                server.copy(str(backup), str(name))
        raise
    finally:
        if backup is not None:
            with contextlib.suppress(OllamaError):
                server.delete(str(backup))


def _request(work: Creation) -> dict[str, Any]:
    """The fields of /api/create. `stop` is always sent: an empty list keeps detected stops out."""
    meant = work.meant
    parameters: dict[str, Any] = {"stop": []} | dict(meant.parameters)
    parameters["stop"] = list(parameters["stop"])
    request: dict[str, Any] = {
        "files": {blob.name: f"sha256:{blob.sha256}" for blob in work.files},
        "parameters": parameters,
    }
    if meant.template is not None:
        request["template"] = meant.template
    if work.adapters:
        request["adapters"] = {blob.name: f"sha256:{blob.sha256}" for blob in work.adapters}
    if meant.system:
        request["system"] = meant.system
    if work.license:
        request["license"] = list(work.license)
    if meant.messages:
        request["messages"] = [{"role": m.role, "content": m.content} for m in meant.messages]
    return request | dict(work.engine)
