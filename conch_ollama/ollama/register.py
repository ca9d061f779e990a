"""Registers a GGUF with its Modelfile in Ollama, here or elsewhere, and sees to it that the result is what was meant.

The model is created under a name of its own, shown, compared, asked, and only then copied to its name: until the copy
an older model of that name stays as it was. Does not start Ollama, and does not choose a TEMPLATE.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from conch_ollama.errors import BadModelfileError, NotFoundError, OllamaRefusedError, TemplateMismatchError
from conch_ollama.ollama.blobs import Progress, file_sha256
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.create import Blob, Creation, create
from conch_ollama.ollama.modelfile import Modelfile
from conch_ollama.ollama.names import ModelName, parse_name
from conch_ollama.ollama.show import ModelInfo
from conch_ollama.ollama.verify import Meant, differences, renders_jinja
from conch_ollama.ollama.versions import ENGINE, check_native, check_version, has_engine_settings

ANSWER_TOKENS = 200
#: Called with the server and the name of the model, before that takes its own name: sentences on what was rendered.
Rendering = Callable[[OllamaClient, str, ModelInfo], tuple[str, ...]]


@dataclass(frozen=True)
class Registered:
    """What came of it. `changed` is False where Ollama had this very model; `answer` is None if nothing was asked.

    `rendered_by`: what this server makes prompts with: "TEMPLATE", "the chat template in the GGUF", or a RENDERER.
    `rendered`: what was seen of prompts made there, in sentences. `template`: where the TEMPLATE comes from, and
    `proven` whether it is; what calls `register` knows that.
    """

    name: str
    host: str
    version: str
    changed: bool
    answer: str | None
    capabilities: tuple[str, ...]
    warnings: tuple[str, ...]
    rendered_by: str = "TEMPLATE"
    rendered: tuple[str, ...] = ()
    template: str = ""
    proven: bool = False


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
    native: bool = False,
    rendering: Rendering | None = None,
    progress: Progress | None = None,
) -> Registered:
    """Creates `name` in the Ollama at `host` (default: OLLAMA_HOST) from the GGUF `modelfile.from_` in `folder`.

    sha256 of the GGUF, hex, spares the hashing where Ollama has the file already. `ask` is put to the model before it
    gets its name, None asks nothing. `capabilities` must be shown; `quantization` (`q4_K_M`) is compared where given.
    native: without a TEMPLATE, so that the server renders the GGUF's own chat template. `rendering` looks at what the
    server renders before the name is given; what it raises stops all. `progress` is called with the bytes uploaded
    (hashed, where sha256 is not given) and their number.

    Raises ModelNameError, TemplateMismatchError (no TEMPLATE), NotFoundError and BadGGUFError about the file,
    OllamaUnreachableError, OllamaRefusedError, RegisterMismatchError; the model `name` is then as it was before.
    """
    full = parse_name(name)
    template = template_override if template_override is not None else modelfile.template
    if not (template or native):
        raise TemplateMismatchError(
            f"the Modelfile of {full} has no TEMPLATE, so Ollama would guess one", hint="give it: --template FILE"
        )
    gguf = model_file(modelfile.from_, folder)
    jinja = _checked_chat_template(gguf)
    with OllamaClient(host) as server:
        version = server.version()
        check_version(version, modelfile, server.host)
        if native:
            check_native(version, jinja, full, server.host)
        files = (Blob(gguf.name, sha256 or file_sha256(gguf, progress), gguf),)
        adapters: tuple[Blob, ...] = ()
        if modelfile.adapter is not None:
            adapter = model_file(modelfile.adapter, folder)
            adapters = (Blob(adapter.name, file_sha256(adapter), adapter),)
        meant = Meant(
            digest=files[0].sha256,
            template=None if native else template,
            system=modelfile.system or "",
            parameters=modelfile.parameters,
            messages=modelfile.messages,
            license="\n".join(modelfile.license),
            adapter_digest=adapters[0].sha256 if adapters else None,
            capabilities=capabilities,
            quantization=quantization,
            jinja=jinja,
        )
        said: list[str] = []
        answers: list[str] = []

        def check(asked: str, info: ModelInfo) -> None:
            if rendering is not None:
                said.extend(rendering(server, asked, info))
            if ask is not None:
                answers.append(_answer(server, asked, info, ask, modelfile))

        engine = {key: str(value) for key in ENGINE if (value := getattr(modelfile, key)) is not None}
        work = Creation(server, full, meant, files, adapters, modelfile.license, engine, check, progress)
        info = _shown(server, full)
        changed = info is None or bool(differences(meant, info)) or has_engine_settings(modelfile)
        if changed or info is None:
            info = create(work, replaces=info is not None)
        else:
            check(str(full), info)
        answer = answers[0] if answers else None
        return Registered(
            name=full.short,
            host=server.host,
            version=version,
            changed=changed,
            answer=answer,
            capabilities=info.capabilities or (),
            warnings=_warnings(meant, modelfile, info, version, ask, answer),
            rendered_by=_rendered_by(meant, modelfile, info),
            rendered=tuple(said),
        )


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


def _answer(server: OllamaClient, name: str, info: ModelInfo, ask: str, modelfile: Modelfile) -> str:
    own = modelfile.parameters.get("num_predict")
    limit = min(own, ANSWER_TOKENS) if isinstance(own, int) and own > 0 else ANSWER_TOKENS
    think = False if "thinking" in (info.capabilities or ()) else None
    question = [{"role": "user", "content": ask}]
    return "".join(server.chat(name, question, options={"num_predict": limit}, think=think)).strip()


def _rendered_by(meant: Meant, modelfile: Modelfile, info: ModelInfo) -> str:
    if modelfile.renderer is not None:
        return f"RENDERER {modelfile.renderer}"
    return "the chat template in the GGUF" if renders_jinja(meant, info) else "TEMPLATE"


def _warnings(
    meant: Meant, modelfile: Modelfile, info: ModelInfo, version: str, ask: str | None, answer: str | None
) -> tuple[str, ...]:
    found = []
    if meant.template is not None and renders_jinja(meant, info):
        found.append(
            f"Ollama {version} renders the chat template in the GGUF and passes over TEMPLATE; "
            "OLLAMA_GO_TEMPLATE=1 in the server's environment makes it use TEMPLATE"
        )
    if info.capabilities is None:
        found.append(f"Ollama {version} does not tell a model's capabilities: not compared")
    if answer == "":
        found.append(f"the model answered nothing to {ask!r}")
    found += [f"PARAMETER {name} is one that Ollama ignores" for name in modelfile.deprecated]
    return tuple(found)
