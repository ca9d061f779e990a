"""Models that the local Ollama holds, read from its store on disk: name -> manifest -> GGUF, template, parameters.

Asks no server and changes nothing. Layout: `manifests/<host>/<namespace>/<model>/<tag>` and `blobs/sha256-<hex>`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from conch_ollama.errors import BadFileError, ModelNameError, NotFoundError, NotSupportedError
from conch_ollama.sources.json_file import read_json_object

_MEDIA = "application/vnd.ollama.image."
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*\Z")
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model of the store. `name` is complete (host/namespace/model:tag), `short` as Ollama shows it."""

    name: str
    short: str
    path: Path
    template: str | None = None
    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    licenses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model's name, taken apart as Ollama does it."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def complete(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def short(self) -> str:
        """Without what is Ollama's default; the tag stays unless it is `latest`."""
        tag = "" if self.tag == "latest" else f":{self.tag}"
        if self.host != "registry.ollama.ai":
            return f"{self.host}/{self.namespace}/{self.model}{tag}"
        return f"{self.model}{tag}" if self.namespace == "library" else f"{self.namespace}/{self.model}{tag}"


def parse_name(text: str) -> ModelName:
    """[host/][namespace/]model[:tag]. `ModelNameError` for what Ollama would not take."""
    rest, _, after = text.rpartition(":")
    rest, tag = (text, "latest") if not rest or "/" in after else (rest, after)
    parts = rest.removeprefix("https://").removeprefix("http://").split("/")
    if len(parts) <= 3:
        host, namespace, model = ["registry.ollama.ai", "library"][: 3 - len(parts)] + parts
        if _HOST.match(host) and all(_PART.match(part) for part in (namespace, model, tag)):
            return ModelName(host, namespace, model, tag)
    raise ModelNameError(f"{text!r} is no name of an Ollama model", hint="names look like qwen2.5:0.5b or me/model:tag")


def store_folders() -> list[Path]:
    """Where Ollama may keep its models here: OLLAMA_MODELS alone if it is set."""
    named = os.environ.get("OLLAMA_MODELS", "").strip().strip("\"'")
    if named:
        return [Path(named).expanduser()]
    return [
        Path.home() / ".ollama" / "models",
        Path("/usr/share/ollama/.ollama/models"),  # Linux, installed as a service
        Path("/var/lib/ollama/.ollama/models"),  # Arch, NixOS
        Path("/var/snap/ollama/common/models"),
    ]


def find_model(text: str) -> StoredModel:
    """The model of that name.

    Raises `ModelNameError`, `NotFoundError` (which says where it looked), `BadFileError` for a damaged store,
    `NotSupportedError` for a model that is more than one GGUF.
    """
    name = parse_name(text)
    tried: list[str] = []
    for folder in store_folders():
        manifest = folder / "manifests" / name.host / name.namespace / name.model / name.tag
        try:
            if manifest.is_file():
                return _open(name, manifest, folder)
            tried.append(str(folder))
        except PermissionError:
            tried.append(f"{folder} (no permission)")
    raise NotFoundError(
        f"the local Ollama has no model {name.short}: looked in {', '.join(tried)}",
        hint=f"`ollama pull {text}` fetches it; OLLAMA_MODELS says where Ollama keeps its models",
    )


def _open(name: ModelName, manifest: Path, folder: Path) -> StoredModel:
    layers = read_json_object(manifest).get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise BadFileError(f"{manifest} has no layers", hint=f"`ollama pull {name.short}` fetches the model again")
    kinds = [str(layer.get("mediaType", "")).removeprefix(_MEDIA) for layer in layers]
    models = [layer for layer, kind in zip(layers, kinds, strict=True) if kind == "model"]
    _refuse_more_than_one_gguf(name, kinds, len(models))

    def texts(kind: str) -> list[str]:
        found = (_blob(folder, name, layer) for layer, its in zip(layers, kinds, strict=True) if its == kind)
        return [path.read_text(encoding="utf-8", errors="replace") for path in found]

    path = _blob(folder, name, models[0])
    return StoredModel(
        name=name.complete,
        short=name.short,
        path=path,
        template=next(iter(texts("template")), None),
        system=next(iter(texts("system")), None),
        parameters=MappingProxyType(_parameters(name, texts("params"))),
        licenses=tuple(texts("license")),
    )


def _refuse_more_than_one_gguf(name: ModelName, kinds: list[str], models: int) -> None:
    if "adapter" in kinds:
        raise NotSupportedError(
            f"the Ollama model {name.short} is a base with an adapter of its own: its GGUF alone is another model",
            hint="give the base that it was made from and that adapter",
        )
    if "projector" in kinds:
        raise NotSupportedError(f"the Ollama model {name.short} reads images: only text models can be a base")
    if "tensor" in kinds or models == 0:
        raise NotSupportedError(f"the Ollama model {name.short} is not stored as a GGUF")
    if models > 1:
        raise NotSupportedError(f"the Ollama model {name.short} is stored in {models} files; one GGUF can be a base")


def _blob(folder: Path, name: ModelName, layer: Mapping[str, Any]) -> Path:
    digest = _DIGEST.match(str(layer.get("digest")))
    again = f"`ollama pull {name.short}` fetches the model again"
    if digest is None:
        raise BadFileError(f"the manifest of {name.short} in {folder} names no blob: {layer.get('digest')}", hint=again)
    path = folder / "blobs" / f"sha256-{digest.group(1)}"
    if not path.is_file():
        raise BadFileError(f"the Ollama model {name.short} lacks its blob {path}", hint=again)
    return path


def _parameters(name: ModelName, texts: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        try:
            found.update(json.loads(text))
        except (ValueError, TypeError) as err:
            raise BadFileError(f"the parameters of the Ollama model {name.short} are no JSON object: {err}") from err
    return found
