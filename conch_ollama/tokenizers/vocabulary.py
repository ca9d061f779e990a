"""A model's vocabulary as GGUF metadata: from a Hugging Face folder (byte-level BPE), or carried over from a GGUF.

`read_vocabulary` joins the rooms' parts; `vocabulary_from_gguf` changes nothing. Neither runs a tokenizer on text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from conch_ollama.errors import BadGGUFError
from conch_ollama.formats.metadata import Metadata, Value, ValueType, array, boolean, string, strings, u32
from conch_ollama.tokenizers.chat_templates import ChatTemplates, read_chat_templates
from conch_ollama.tokenizers.pretokenizer_table import row_of
from conch_ollama.tokenizers.pretokenizers import recognise
from conch_ollama.tokenizers.special_tokens import as_ids, read_special_tokens
from conch_ollama.tokenizers.stops import EOG_TEXTS, Stops, find_stops
from conch_ollama.tokenizers.token_list import TokenList, TokenType, read_merges, read_token_list, token_warnings
from conch_ollama.tokenizers.tokenizer_files import TokenizerFiles, check_byte_level_bpe, read_tokenizer_files

_ID_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
    "eom": "tokenizer.ggml.eom_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    "sep": "tokenizer.ggml.seperator_token_id",  # spelt so in the format
    "pad": "tokenizer.ggml.padding_token_id",
    "mask": "tokenizer.ggml.mask_token_id",
}
_ADD_KEYS = {role: f"tokenizer.ggml.add_{role}_token" for role in ("bos", "eos", "sep")}
_TEMPLATE = "tokenizer.chat_template"
# Kinds of vocabulary (tokenizer.ggml.model) to which llama.cpp adds BOS unless told otherwise.
_BOS_BY_DEFAULT = frozenset({"llama", "bert", "gemma4"})


@dataclass(frozen=True)
class Vocabulary:
    """Tokens with their types, special ids, chat templates and what ends a turn.

    `special` maps "bos", "eos", "eot", "eom", "unk", "sep", "pad", "mask" to ids. `gaps` are known differences between
    llama.cpp and the original tokenizer: keys of GAPS, and "text:…" for a text that only llama.cpp takes for a special
    token. `warnings` say them in words.
    """

    model: str
    pre: str | None
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str] = ()
    special: Mapping[str, int] = field(default_factory=dict)
    add: Mapping[str, bool] = field(default_factory=dict)
    chat_template: str | None = None
    chat_templates: Mapping[str, str] = field(default_factory=dict)
    stop_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    gaps: frozenset[str] = frozenset()
    carried: Metadata | None = None

    @property
    def bos(self) -> int | None:
        """Id of the token that begins a text."""
        return self.special.get("bos")

    @property
    def eos(self) -> int | None:
        """Id of the token that ends a text."""
        return self.special.get("eos")

    @property
    def eot(self) -> int | None:
        """Id of the token that ends a turn, where it is another than EOS."""
        return self.special.get("eot")

    @property
    def unk(self) -> int | None:
        """Id of the unknown token."""
        return self.special.get("unk")

    @property
    def pad(self) -> int | None:
        """Id of the padding token."""
        return self.special.get("pad")

    @property
    def add_bos(self) -> bool:
        """Whether llama.cpp puts BOS before a prompt: the key, or else its default for this kind."""
        if "bos" in self.add:
            return self.add["bos"]
        row = row_of(self.pre or "")
        return self.model in _BOS_BY_DEFAULT or bool(self.model == "gpt2" and row and row.add_bos)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {text: index for index, text in enumerate(self.tokens)}

    def token_id(self, text: str) -> int | None:
        """Id of a token by its text as the vocabulary spells it."""
        return self._ids.get(text)

    @property
    def bos_text(self) -> str:
        """Text of BOS as a chat template writes it, "" when there is none."""
        return "" if self.bos is None else self.tokens[self.bos]

    @property
    def eos_text(self) -> str:
        """Text of EOS as a chat template writes it, "" when there is none."""
        return "" if self.eos is None else self.tokens[self.eos]

    def with_chat_template(self, source: str) -> Vocabulary:
        """The same vocabulary with another chat template: the one that an adapter was trained with."""
        carried = None if self.carried is None else {**self.carried, _TEMPLATE: string(source)}
        return replace(self, chat_template=source, carried=carried)

    def with_add_bos(self, flag: bool) -> Vocabulary:
        """The same vocabulary, BOS put before a prompt or not, whatever the files say: as an adapter was trained."""
        carried = None if self.carried is None else {**self.carried, _ADD_KEYS["bos"]: boolean(flag)}
        return replace(self, add={**self.add, "bos": flag}, carried=carried)

    def metadata(self) -> dict[str, Value]:
        """All `tokenizer.*` keys, in the reference converter's order."""
        if self.carried is not None:
            return dict(self.carried)
        values: dict[str, Value] = {"tokenizer.ggml.model": string(self.model)}
        if self.pre is not None:
            values["tokenizer.ggml.pre"] = string(self.pre)
        values["tokenizer.ggml.tokens"] = strings(self.tokens)
        values["tokenizer.ggml.token_type"] = array(ValueType.INT32, self.types)
        values["tokenizer.ggml.merges"] = strings(self.merges)
        values |= {key: u32(self.special[role]) for role, key in _ID_KEYS.items() if role in self.special}
        if len(self.stop_ids) > 1:
            # Read by Ollama's own engine, which has no list of texts that end generation; llama.cpp ignores it.
            values["tokenizer.ggml.eos_token_ids"] = array(ValueType.INT32, self.stop_ids)
        values |= {key: boolean(self.add[role]) for role, key in _ADD_KEYS.items() if role in self.add}
        if self.chat_templates:
            values |= {f"{_TEMPLATE}.{name}": string(text) for name, text in self.chat_templates.items()}
            values[f"{_TEMPLATE}s"] = strings(list(self.chat_templates))
        if self.chat_template is not None:
            values[_TEMPLATE] = string(self.chat_template)
        return values


def read_vocabulary(
    folder: Path, *, vocab_size: int, pre: str | None = None, model_folder: Path | None = None
) -> Vocabulary:
    """The vocabulary of a Hugging Face folder for an embedding of `vocab_size` rows.

    `pre` names the pre-tokenizer instead of recognising it. `model_folder` is the base's when `folder` is an adapter's:
    for config.json, generation_config.json and a chat template that the adapter does not bring. Raises NotFoundError,
    UnknownTokenizerError, UnknownPreTokenizerError, BadConfigError.
    """
    files = read_tokenizer_files(folder, model_folder)
    check_byte_level_bpe(files)
    listed = read_token_list(files, vocab_size)
    merges = read_merges(files, listed.ids)
    special = read_special_tokens(files, listed.ids, vocab_size)
    recognised = recognise(files, pre=pre, has_bos="bos" in special.ids)
    templates = read_chat_templates(files)
    stops = _stops(files, listed, templates, special.ids)
    ids = {role: index for role, index in special.ids.items() if role in _ID_KEYS}
    ids |= {role: index for role in ("eos", "eot", "eom") if (index := getattr(stops, role)) is not None}
    ordinary = sorted(text for text in EOG_TEXTS & listed.ids.keys() if text not in listed.added)
    return Vocabulary(
        model="gpt2",
        pre=recognised.name,
        tokens=listed.tokens,
        types=listed.types,
        merges=merges,
        special=ids,
        add=_add_flags(special.add, has_bos="bos" in ids),
        chat_template=templates.default,
        chat_templates=templates.named,
        stop_ids=stops.ids,
        stop_strings=stops.strings,
        warnings=(
            *special.warnings,
            *recognised.warnings,
            *stops.warnings,
            *token_warnings(files, listed),
            *(f"{text!r} is plain text to the tokenizer, to llama.cpp an end of generation" for text in ordinary),
        ),
        gaps=recognised.gaps | {f"text:{text}" for text in ordinary},
    )


def _add_flags(add: Mapping[str, bool], *, has_bos: bool) -> dict[str, bool]:
    """What the files decide, and always whether BOS is added.

    Left unsaid, llama.cpp decides by the pre-tokenizer's name and Ollama's own engine adds it to most models. A BOS
    that does not exist is never added: llama.cpp would take id 11.
    """
    return {**add, "bos": has_bos and add.get("bos", False)}


def _stops(files: TokenizerFiles, listed: TokenList, templates: ChatTemplates, special: Mapping[str, int]) -> Stops:
    configured = [
        index
        for source in (files.generation_config, files.config)
        for index in as_ids(source.get("eos_token_id"))
        if index < len(listed.tokens)
    ]
    return find_stops(
        ids=listed.ids,
        added=frozenset(listed.added),
        chat_template=templates.default or next(iter(templates.named.values()), None),
        eos=special.get("eos"),
        eot=special.get("eot"),
        eom=special.get("eom"),
        configured=configured,
    )


def vocabulary_from_gguf(metadata: Metadata) -> Vocabulary:
    """The vocabulary of a GGUF of any kind (SentencePiece too): `metadata()` gives its keys back unchanged.

    Raises BadGGUFError when there is none, or its token types do not fit its tokens.
    """
    carried = {key: value for key, value in metadata.items() if key.startswith("tokenizer.")}
    if "tokenizer.ggml.tokens" not in carried or "tokenizer.ggml.model" not in carried:
        raise BadGGUFError(
            "the GGUF holds no vocabulary (tokenizer.ggml.model, tokenizer.ggml.tokens)",
            hint="Use a GGUF of a whole language model: not an adapter, a projector or a vocabulary-less split.",
        )
    data = {key: value.data for key, value in carried.items()}
    tokens = data["tokenizer.ggml.tokens"]
    types = data.get("tokenizer.ggml.token_type", [int(TokenType.NORMAL)] * len(tokens))
    if len(types) != len(tokens):
        raise BadGGUFError(f"tokenizer.ggml.token_type has {len(types)} entries for {len(tokens)} tokens")
    special = {role: int(data[key]) for role, key in _ID_KEYS.items() if key in data and int(data[key]) < len(tokens)}
    marked = frozenset((int(TokenType.CONTROL), int(TokenType.USER_DEFINED), int(TokenType.UNKNOWN)))
    added = {text: index for index, (text, kind) in enumerate(zip(tokens, types, strict=True)) if kind in marked}
    stops = find_stops(
        ids=added,
        added=frozenset(added),
        chat_template=data.get(_TEMPLATE),
        eos=special.get("eos"),
        eot=special.get("eot"),
        eom=special.get("eom"),
        configured=as_ids(list(data.get("tokenizer.ggml.eos_token_ids", ()))),
    )
    return Vocabulary(
        model=data["tokenizer.ggml.model"],
        pre=data.get("tokenizer.ggml.pre"),
        tokens=tokens,
        types=types,
        merges=data.get("tokenizer.ggml.merges", ()),
        special=special,
        add={role: bool(data[key]) for role, key in _ADD_KEYS.items() if key in data},
        chat_template=data.get(_TEMPLATE),
        chat_templates={
            name: data[f"{_TEMPLATE}.{name}"] for name in data.get(f"{_TEMPLATE}s", ()) if f"{_TEMPLATE}.{name}" in data
        },
        stop_ids=stops.ids,
        stop_strings=stops.strings,
        warnings=(*stops.warnings, *_pre_tokenizer_warnings(data)),
        carried=carried,
    )


def _pre_tokenizer_warnings(data: Mapping[str, object]) -> list[str]:
    """Old conversions of byte-level BPE name no pre-tokenizer: llama.cpp then splits as no model was trained."""
    if data["tokenizer.ggml.model"] == "gpt2" and data.get("tokenizer.ggml.pre", "default") == "default":
        return ["the GGUF names no pre-tokenizer: llama.cpp splits text by a default that no model was trained with"]
    return []
