"""Registers a GGUF with its Modelfile in Ollama, here or elsewhere, and sees to it that the result is what was meant.

The model is created under a name of its own, shown, compared, asked, and only then copied to its name: until the copy
an older model of that name stays as it was. Does not start Ollama, and does not choose a TEMPLATE.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import (
    BadModelfileError,
    NotFoundError,
    OllamaError,
    OllamaRefusedError,
    TemplateMismatchError,
)
from conch_ollama.ollama.blobs import Progress, file_sha256, upload
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.modelfile import Modelfile
from conch_ollama.ollama.names import ModelName, parse_name
from conch_ollama.ollama.show import ModelInfo
from conch_ollama.ollama.verify import Meant, differences, mismatch, renders_jinja
from conch_ollama.ollama.versions import check_version, has_engine_settings

ANSWER_TOKENS = 200
_NEW, _OLD = "-conch-new", "-conch-old"


@dataclass(frozen=True)
class Registered:
    """What came of it. `changed` is False where Ollama had this very model; `answer` is None if nothing was asked."""

    name: str
    host: str
    version: str
    changed: bool
    answer: str | None
    capabilities: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Work:
    server: OllamaClient
    name: ModelName
    modelfile: Modelfile
    meant: Meant
    files: tuple[tuple[Path, str], ...]
    ask: str | None
    progress: Progress | None


def register(
    modelfile: Modelfile,
    folder: Path,
    name: str,
    *,
    host: str | None = None,
    sha256: str | None = None,
    template_override: str | None = None,
    ask: str | None = "请问你是谁",
    capabilities: Collection[str] = ("completion",),
    quantization: str | None = None,
    progress: Progress | None = None,
) -> Registered:
    """Creates `name` in the Ollama at `host` (default: OLLAMA_HOST) from the GGUF `modelfile.from_` in `folder`.

    sha256 of the GGUF, hex, spares the hashing where Ollama has the file already. `ask` is put to the model before it
    gets its name, None asks nothing. `capabilities` must be shown; `quantization` (`q4_K_M`) is compared where given.
    `progress` is called with the bytes uploaded (hashed, where sha256 is not given) and their number.

    Raises ModelNameError, TemplateMismatchError (no TEMPLATE), NotFoundError and BadGGUFError about the file,
    OllamaUnreachableError, OllamaRefusedError, RegisterMismatchError; the model `name` is then as it was before.
    """
    full = parse_name(name)
    template = template_override if template_override is not None else modelfile.template
    if not template:
        raise TemplateMismatchError(
            f"the Modelfile of {full} has no TEMPLATE, so Ollama would guess one", hint="give it: --template FILE"
        )
    gguf = model_file(modelfile.from_, folder)
    jinja = _checked_chat_template(gguf)
    with OllamaClient(host) as server:
        version = server.version()
        check_version(version, modelfile, server.host)
        files = [(gguf, sha256 or file_sha256(gguf, progress))]
        if modelfile.adapter is not None:
            adapter = model_file(modelfile.adapter, folder)
            files.append((adapter, file_sha256(adapter)))
        meant = Meant(
            digest=files[0][1],
            template=template,
            system=modelfile.system or "",
            parameters=modelfile.parameters,
            messages=modelfile.messages,
            license="\n".join(modelfile.license),
            adapter_digest=files[1][1] if len(files) > 1 else None,
            capabilities=capabilities,
            quantization=quantization,
            jinja=jinja,
        )
        work = _Work(server, full, modelfile, meant, tuple(files), ask, progress)
        old = _shown(server, full)
        changed = old is None or bool(differences(meant, old)) or has_engine_settings(modelfile)
        info, answer = _create(work, old) if changed or old is None else (old, _answer(work, full, old))
        warnings = _warnings(work, info, version, answer)
        return Registered(full.short, server.host, version, changed, answer, info.capabilities or (), warnings)


def model_file(written: str, folder: Path) -> Path:
    """The GGUF that FROM or ADAPTER names, relative to `folder`; a folder stands for the one GGUF in it."""
    try:
        path = folder / Path(written).expanduser()
    except RuntimeError as err:  # ~someone who is not a user here
        raise NotFoundError(f"{written}: the GGUF that the Modelfile names has no such home") from err
    if path.is_dir():
        found = sorted(path.glob("*.gguf"))
        if len(found) != 1:
            raise BadModelfileError(
                f"{path}: holds {len(found)} GGUF files; FROM or ADAPTER must name one",
                hint="safetensors are converted by `conch export`",
            )
        return found[0]
    if not path.is_file():
        raise NotFoundError(
            f"{path}: the GGUF that the Modelfile names is not there", hint="`conch export` writes both side by side"
        )
    return path


def _checked_chat_template(path: Path) -> str | None:
    """The GGUF's own chat template; opening the file also tells whether it is one and is whole."""
    from conch_ollama.formats.gguf_reader import GGUFFile

    with GGUFFile(path) as file:
        value = file.metadata.get("tokenizer.chat_template")
        return str(value.data) if value is not None else None


def _shown(server: OllamaClient, name: ModelName) -> ModelInfo | None:
    try:
        return server.show(str(name))
    except NotFoundError:
        return None
    except OllamaRefusedError:  # there, and damaged: differs from anything that is meant
        return ModelInfo(str(name))


def _create(work: _Work, old: ModelInfo | None) -> tuple[ModelInfo, str | None]:
    server, name = work.server, work.name
    unproven, backup = name.with_tag_suffix(_NEW), name.with_tag_suffix(_OLD)
    for path, digest in work.files:
        upload(server, path, digest, work.progress)
    try:
        for _ in server.create(str(unproven), **_request(work)):
            pass
        info = server.show(str(unproven))
        found = differences(work.meant, info)
        if found:
            raise mismatch(str(name), server.host, found)
        answer = _answer(work, unproven, info)
        _take_name(server, unproven, name, backup if old is not None else None)
        return info, answer
    finally:
        with contextlib.suppress(OllamaError, NotFoundError):  # the error that led here says more
            server.delete(str(unproven))


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


def _request(work: _Work) -> dict[str, Any]:
    """The fields of /api/create. `stop` is always sent: an empty list keeps detected stops out."""
    meant, modelfile = work.meant, work.modelfile
    parameters: dict[str, Any] = {"stop": []} | dict(meant.parameters)
    parameters["stop"] = list(parameters["stop"])
    request: dict[str, Any] = {
        "files": {work.files[0][0].name: f"sha256:{work.files[0][1]}"},
        "template": meant.template,
        "parameters": parameters,
    }
    if len(work.files) > 1:
        request["adapters"] = {work.files[1][0].name: f"sha256:{work.files[1][1]}"}
    if meant.system:
        request["system"] = meant.system
    if modelfile.license:
        request["license"] = list(modelfile.license)
    if meant.messages:
        request["messages"] = [{"role": m.role, "content": m.content} for m in meant.messages]
    engine = {key: getattr(modelfile, key) for key in ("renderer", "parser", "requires")}
    return request | {key: value for key, value in engine.items() if value is not None}


def _answer(work: _Work, name: ModelName, info: ModelInfo) -> str | None:
    if work.ask is None:
        return None
    own = work.meant.parameters.get("num_predict")
    limit = min(own, ANSWER_TOKENS) if isinstance(own, int) and own > 0 else ANSWER_TOKENS
    think = False if "thinking" in (info.capabilities or ()) else None
    question = [{"role": "user", "content": work.ask}]
    return "".join(work.server.chat(str(name), question, options={"num_predict": limit}, think=think)).strip()


def _warnings(work: _Work, info: ModelInfo, version: str, answer: str | None) -> tuple[str, ...]:
    found = []
    if renders_jinja(work.meant, info):
        found.append(
            f"Ollama {version} renders the chat template in the GGUF and passes over TEMPLATE; "
            "OLLAMA_GO_TEMPLATE=1 in the server's environment makes it use TEMPLATE"
        )
    if info.capabilities is None:
        found.append(f"Ollama {version} does not tell a model's capabilities: not compared")
    if answer == "":
        found.append(f"the model answered nothing to {work.ask!r}")
    found += [f"PARAMETER {name} is one that Ollama ignores" for name in work.modelfile.deprecated]
    return tuple(found)
