"""What a GGUF's header tells about the model: a ModelCard, and what its context costs in memory.

Reads the header only: the digest is one of the header, the size and the time of the file, not of its gigabytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from conch_ollama.errors import NotFoundError
from conch_ollama.formats.file_types import FILE_TYPE_NAMES
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import Metadata
from conch_ollama.runtimes.llama_infill import has_gap_tokens
from conch_ollama.runtimes.protocol import ModelCard

#: Architectures that only read: a text becomes a vector, nothing is answered.
_ENCODERS = frozenset({"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "modern-bert", "neo-bert", "eurobert"})
#: What marks a gap in a text, in newer files and in older ones.
_GAP_KEYS = [
    {f"tokenizer.ggml.fim_{part}_token_id" for part in ("pre", "suf", "mid")},
    {f"tokenizer.ggml.{part}_token_id" for part in ("prefix", "suffix", "middle")},
]
_F16_BYTES = 2
_HEADER = 16 << 20


@dataclass(frozen=True)
class GGUFFacts:
    """`card` without name and options; `token_bytes`: what one token of context takes in the cache, in f16.

    `pooling`: whether the file itself says how a text becomes one vector. `vocabulary`: number of tokens.
    """

    card: ModelCard
    token_bytes: int
    layers: int
    vocabulary: int
    pooling: bool

    @property
    def answers(self) -> bool:
        return "completion" in self.card.capabilities


def read_facts(path: Path) -> GGUFFacts:
    """Facts of the file, read once as long as it does not change.

    Raises NotFoundError, BadGGUFError, TruncatedFileError.
    """
    try:
        stat = path.stat()
    except OSError as err:
        raise NotFoundError(f"{path} cannot be read: {err.strerror}") from err
    return _read(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, size: int, modified_ns: int) -> GGUFFacts:
    with GGUFFile(path) as file:
        metadata = file.metadata
        architecture = str(_get(metadata, "general.architecture", ""))
        own = f"{architecture}."
        template = str(_get(metadata, "tokenizer.chat_template", ""))
        pooling = f"{own}pooling_type" in metadata
        header = _header(path, file)
        card = ModelCard(
            name=path.stem,
            architecture=architecture,
            parameters=sum(tensor.elements for tensor in file.tensors.values()),
            context_length=int(_get(metadata, f"{own}context_length", 0)),
            embedding_length=int(_get(metadata, f"{own}embedding_length", 0)),
            quantization=_quantization(_get(metadata, "general.file_type", None)),
            size=file.size,
            digest=_digest(header, size, modified_ns),
            modified=modified_ns / 1e9,
            template=template,
            license=str(_get(metadata, "general.license", "")),
            capabilities=_capabilities(architecture, template, metadata, header, pooling),
        )
        return GGUFFacts(
            card,
            token_bytes=_token_bytes(metadata, own),
            layers=int(_get(metadata, f"{own}block_count", 0)),
            vocabulary=_vocabulary(file),
            pooling=pooling,
        )


def _get(metadata: Metadata, key: str, default: Any) -> Any:
    value = metadata.get(key)
    return default if value is None else value.data


def _capabilities(architecture: str, template: str, metadata: Metadata, header: bytes, pooling: bool) -> frozenset[str]:
    if architecture in _ENCODERS:
        return frozenset({"embedding"})
    found = {"completion", "embedding"} if pooling else {"completion"}
    if "tools" in template or "tool_call" in template:
        found.add("tools")
    if "<think>" in template or "enable_thinking" in template or "reasoning" in template:
        found.add("thinking")
    if any(keys <= set(metadata) for keys in _GAP_KEYS) or has_gap_tokens(header):
        found.add("insert")
    return frozenset(found)


def _quantization(file_type: int | None) -> str:
    return "" if file_type is None else FILE_TYPE_NAMES.get(file_type, "")


def _token_bytes(metadata: Metadata, own: str) -> int:
    """Keys and values of one token, all layers. 0 where there is no attention to cache."""
    layers = int(_get(metadata, f"{own}block_count", 0))
    heads = _get(metadata, f"{own}attention.head_count", 0)
    key_heads = _get(metadata, f"{own}attention.head_count_kv", heads)
    per_layer = [int(n) for n in key_heads] if _is_array(key_heads) else [int(key_heads)] * layers
    most_heads = max((int(n) for n in heads), default=0) if _is_array(heads) else int(heads)
    width = int(_get(metadata, f"{own}embedding_length", 0)) // most_heads if most_heads else 0
    key = int(_get(metadata, f"{own}attention.key_length", width))
    value = int(_get(metadata, f"{own}attention.value_length", width))
    return sum(per_layer) * (key + value) * _F16_BYTES


def _is_array(data: Any) -> bool:
    return not isinstance(data, int | float | str | bool)


def _vocabulary(file: GGUFFile) -> int:
    embedding = file.tensors.get("token_embd.weight")
    return embedding.rows if embedding is not None and embedding.shape else 0


def _header(path: Path, file: GGUFFile) -> bytes:
    """The file's bytes before its tensors; of a very long header the beginning."""
    with path.open("rb") as opened:
        return opened.read(min(file.data_offset, _HEADER))


def _digest(header: bytes, size: int, modified_ns: int) -> str:
    """64 hexadecimal digits that change with the file."""
    return hashlib.sha256(f"{size} {modified_ns}".encode() + header).hexdigest()
