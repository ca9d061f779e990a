"""How a model is spoken to, whatever it comes as: its chat template, special tokens, stops, and its tokenizer.

Reads the small files of a Hugging Face folder, the header of a GGUF, or a bare Jinja file. Opens no weights and proves
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from conch_ollama.chat_template.case import references_of
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import BadTemplateError, NotFoundError
from conch_ollama.tokenizers.token_list import OTHER_ROLES
from conch_ollama.workflows.chat_files import read_bare, read_folder
from conch_ollama.workflows.template_carrier import TEMPLATE_KEY

if TYPE_CHECKING:
    from conch_ollama.chat_template.compare import References
    from conch_ollama.exporter.inputs import Inputs
    from conch_ollama.sources.resolve import Base
    from conch_ollama.tokenizers.vocabulary import Vocabulary

#: What a GGUF's vocabulary holds for tokenizing only.
_UNASKED = ("tokenizer.ggml.merges", "tokenizer.ggml.scores")


@dataclass(frozen=True)
class ChatFormat:
    """A model's chat template (Jinja) and what it needs.

    `name`: a short name of the model. `add_bos`: the server puts `bos_token` in front of a prompt; None where no
    tokenizer says so, and then it is taken as added. `family`: the GGUF's architecture, "" where it is not known.
    `folder`, `gguf`: where the tokenizer is; both None without one. `templates`: all that a GGUF has, by their keys.
    """

    name: str
    source: str
    bos_token: str = ""
    eos_token: str = ""
    add_bos: bool | None = None
    family: str = ""
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    ends: frozenset[str] = frozenset()
    folder: Path | None = None
    gguf: Path | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @cached_property
    def jinja(self) -> JinjaTemplate:
        """The template, parsed. Raises BadTemplateError."""
        return JinjaTemplate(
            self.source, bos_token=self.bos_token, eos_token=self.eos_token, special_tokens=self.special_tokens
        )

    @cached_property
    def references(self) -> References:
        """The prompts that every proof for this format is made against, each rendered once. Raises BadTemplateError."""
        return references_of(self.jinja)

    def with_tokens(self, bos: str | None, eos: str | None) -> ChatFormat:
        """The same with other special tokens, where they are given."""
        bos_token = self.bos_token if bos is None else bos
        return replace(self, bos_token=bos_token, eos_token=self.eos_token if eos is None else eos)


def read_chat_format(
    source: str | Path,
    *,
    hub: Literal["huggingface", "modelscope"] = "huggingface",
    revision: str | None = None,
) -> ChatFormat:
    """The chat format of a model (whatever `resolve_base` takes; from a hub only the small files come), or of a file
    that holds only a template: Jinja, or tokenizer_config.json.

    Raises NotFoundError (also where there is no chat template), BadTemplateError, BadFileError's kin, HubError.
    """
    path = Path(source).expanduser()
    if path.is_file() and not _is_gguf(path):
        return ChatFormat(**read_bare(path))
    from conch_ollama.sources.resolve import resolve_base  # numpy comes with it

    base = resolve_base(source, hub=hub, revision=revision, weights=False)
    return of_gguf(base) if base.kind == "gguf" else ChatFormat(name=base.name, **read_folder(base.path))


def of_gguf(base: Base) -> ChatFormat:
    """The chat format of a GGUF."""
    from conch_ollama.formats.gguf_reader import GGUFFile
    from conch_ollama.tokenizers.vocabulary import vocabulary_from_gguf

    with GGUFFile(base.path) as file:
        # By their keys: asking for a value decodes it, and merges are the larger half of a vocabulary.
        vocabulary = vocabulary_from_gguf({key: file.metadata[key] for key in file.metadata if key not in _UNASKED})
        architecture = file.metadata.get("general.architecture")
        family = str(architecture.data) if architecture is not None else ""
        templates = {key: str(file.metadata[key].data) for key in file.metadata if key.startswith(TEMPLATE_KEY)}
    if vocabulary.chat_template is None:
        hint = "give the model's own Jinja file: `conch template FILE.jinja --bos TEXT --eos TEXT`"
        if base.ollama is not None and base.ollama.template:
            hint += "; its TEMPLATE in Ollama has nothing to be proven against"
        raise NotFoundError(f"{base.name}: the GGUF holds no chat template (tokenizer.chat_template)", hint=hint)
    return replace(of_vocabulary(vocabulary, base.name, family=family, gguf=base.path), templates=templates)


def of_inputs(inputs: Inputs, name: str) -> ChatFormat | None:
    """The chat format of an export; None where the model has no chat template."""
    if inputs.vocabulary.chat_template is None:
        return None
    gguf = inputs.base.path if inputs.tokenizer_folder is None and inputs.gguf is not None else None
    return of_vocabulary(
        inputs.vocabulary, name, family=inputs.architecture.name, folder=inputs.tokenizer_folder, gguf=gguf
    )


def of_vocabulary(
    vocabulary: Vocabulary, name: str, *, family: str, folder: Path | None = None, gguf: Path | None = None
) -> ChatFormat:
    """Of a vocabulary with a chat template. Raises BadTemplateError where it has none."""
    if vocabulary.chat_template is None:
        raise BadTemplateError(f"{name} has no chat template")
    others = {
        f"{role}_token": vocabulary.tokens[vocabulary.special[role]]
        for role in OTHER_ROLES
        if role in vocabulary.special
    }
    ends = {vocabulary.tokens[vocabulary.special[role]] for role in ("eos", "eot", "eom") if role in vocabulary.special}
    return ChatFormat(
        name=name,
        source=vocabulary.chat_template,
        bos_token=vocabulary.bos_text,
        eos_token=vocabulary.eos_text,
        add_bos=vocabulary.add_bos,
        family=family,
        special_tokens=others,
        stops=vocabulary.stop_strings,
        ends=frozenset(ends),
        folder=folder,
        gguf=gguf,
    )


def _is_gguf(path: Path) -> bool:
    if path.suffix.lower() == ".gguf":
        return True
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"
