"""What a GGUF says of how to talk to its model: vocabulary, chat template, context, what it was trained with.

From the file where it can be read here, else from what an Ollama server shows of it, which keeps the chat template
back. Judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import BadGGUFError, BadTemplateError
from conch_ollama.exporter.general import SAMPLING as METADATA
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import Metadata, Value, ValueType
from conch_ollama.tokenizers.vocabulary import Vocabulary, vocabulary_from_gguf
from conch_ollama.workflows.chat_format import ChatFormat, of_vocabulary
from conch_ollama.workflows.modelfile import SAMPLING as PARAMETERS

#: Metadata of a GGUF -> parameter of a Modelfile: what an export writes, read back.
SAMPLING = {key: PARAMETERS[name] for name, (key, _) in METADATA.items()}


@dataclass(frozen=True)
class ModelFacts:
    """`values`: the metadata without types and without the vocabulary's arrays. `size`: bytes of the file.

    `vocabulary` is None where there is none; `chat` and `jinja` where there is no chat template, or it does not work:
    `fault` says why, or that it can't be seen from here.
    """

    values: Mapping[str, Any]
    vocabulary: Vocabulary | None
    chat: ChatFormat | None
    jinja: JinjaTemplate | None
    fault: str = ""
    size: int = 0
    seen_whole: bool = True

    @property
    def architecture(self) -> str:
        """The GGUF's architecture, which Ollama takes for the model's family."""
        return str(self.values.get("general.architecture", ""))

    @property
    def add_bos(self) -> bool:
        """Whether the server puts BOS in front of a prompt."""
        return self.vocabulary is not None and self.vocabulary.add_bos

    @property
    def bos(self) -> str:
        """The text of BOS."""
        return self.vocabulary.bos_text if self.vocabulary is not None else ""

    @cached_property
    def config(self) -> Mapping[str, int] | None:
        """What the size of a context depends on, by Hugging Face's names; None where the metadata does not say it."""
        heads = self._number("attention.head_count")
        found = {
            "max_position_embeddings": self._number("context_length"),
            "num_hidden_layers": self._number("block_count"),
            "hidden_size": self._number("embedding_length"),
            "num_attention_heads": heads,
            "num_key_value_heads": self._number("attention.head_count_kv") or heads,
            "head_dim": self._number("attention.key_length"),
        }
        if not all(found[key] for key in ("num_hidden_layers", "hidden_size", "num_attention_heads")):
            return None
        return {key: value for key, value in found.items() if value}

    @property
    def cutoff(self) -> int | None:
        """The longest text that an adapter was trained on, in tokens, as conch writes it into a GGUF."""
        found = []
        for key, value in self.values.items():
            if key.startswith("conch.adapter.") and key.endswith(".training"):
                try:
                    found.append(int(json.loads(value)["cutoff_len"]))
                except (ValueError, KeyError, TypeError):
                    continue
        return max(found, default=None)

    @property
    def sampling(self) -> Mapping[str, float | int]:
        """The model's own sampling, as parameters of a Modelfile."""
        return {name: self.values[key] for key, name in SAMPLING.items() if key in self.values}

    def _number(self, key: str) -> int:
        value = self.values.get(f"{self.architecture}.{key}")
        if isinstance(value, Sequence) and not isinstance(value, str):  # one for each layer
            value = max((one for one in value if isinstance(one, int)), default=0)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0


def facts_of_file(path: Path) -> ModelFacts:
    """Reads a GGUF's header. Raises NotFoundError, TruncatedFileError, BadGGUFError."""
    with GGUFFile(path) as file:
        values = {key: _plain(value) for key, value in file.metadata.items() if not key.startswith("tokenizer.")}
        return _facts(file.metadata, values, size=file.size, seen_whole=True)


def facts_of_server(metadata: Mapping[str, Any], *, size: int, jinja: str | None = None) -> ModelFacts:
    """From `model_info` of a server's verbose answer. `jinja`: the chat template, where the server shows it."""
    typed = {key: value for key, shown in metadata.items() if (value := _typed(shown)) is not None}
    if jinja:
        typed["tokenizer.chat_template"] = Value(ValueType.STRING, jinja)
    values = {key: value for key, value in metadata.items() if not key.startswith("tokenizer.")}
    return _facts(typed, values, size=size, seen_whole=bool(jinja))


def _facts(metadata: Metadata, values: Mapping[str, Any], *, size: int, seen_whole: bool) -> ModelFacts:
    try:
        vocabulary = vocabulary_from_gguf(metadata)
    except BadGGUFError as err:
        return ModelFacts(values, None, None, None, err.message, size, seen_whole)
    if vocabulary.chat_template is None:
        fault = "the GGUF has no chat template" if seen_whole else "Ollama does not show the GGUF's chat template"
        return ModelFacts(values, vocabulary, None, None, fault, size, seen_whole)
    chat = of_vocabulary(vocabulary, "", family=str(values.get("general.architecture", "")))
    try:
        return ModelFacts(values, vocabulary, chat, chat.jinja, "", size, seen_whole)
    except BadTemplateError as err:
        fault = f"the GGUF's chat template does not work: {err.message}"
        return ModelFacts(values, vocabulary, None, None, fault, size, seen_whole)


def _plain(value: Value) -> Any:
    if value.items is None:
        return value.data
    return [one.item() if hasattr(one, "item") else one for one in value.data]


def _typed(shown: Any) -> Value | None:
    """A value of JSON as metadata; None for what has no place in a vocabulary."""
    if isinstance(shown, bool):
        return Value(ValueType.BOOL, shown)
    if isinstance(shown, int):
        return Value(ValueType.UINT32, shown)
    if isinstance(shown, str):
        return Value(ValueType.STRING, shown)
    if isinstance(shown, list) and shown:
        return Value(ValueType.ARRAY, shown, ValueType.STRING if isinstance(shown[0], str) else ValueType.INT32)
    return None
