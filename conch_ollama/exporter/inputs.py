"""Opens what an export starts from: base, adapters, tokenizer; joins them into one merged source.

A folder and a GGUF look the same afterwards. What the adapter was trained with (its tokenizer, its chat template) wins
over the base's. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from conch_ollama.architectures.outputs import config_for_gguf, names_for_gguf
from conch_ollama.architectures.rules import Architecture
from conch_ollama.architectures.table import architecture_by_name, architecture_for
from conch_ollama.errors import BadConfigError, NotFoundError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import Metadata
from conch_ollama.sources.adapter import Adapter, open_adapter
from conch_ollama.sources.folder import HuggingFaceFolder
from conch_ollama.sources.gguf import GGUFSource
from conch_ollama.sources.merge import MergedSource
from conch_ollama.sources.resolve import Base
from conch_ollama.sources.weights import WeightSource
from conch_ollama.tokenizers.vocabulary import Vocabulary, read_vocabulary, vocabulary_from_gguf

MergeDtype = Literal["float32", "base"]


@dataclass(frozen=True)
class Inputs:
    """An export's inputs, open. Close it, or use it as a context manager.

    `tokenizer_folder` holds the tokenizer files that count, None where the vocabulary comes from a GGUF (`gguf`).
    """

    base: Base
    adapters: tuple[tuple[Adapter, float], ...]
    weights: WeightSource
    architecture: Architecture
    vocabulary: Vocabulary
    tokenizer_folder: Path | None
    gguf: GGUFFile | None
    generation: Mapping[str, Any]
    warnings: tuple[str, ...]
    base_config: Mapping[str, Any]

    def close(self) -> None:
        """Give back the open files."""
        self.weights.close()
        if self.gguf is not None:
            self.gguf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_inputs(
    base: Base,
    adapters: Sequence[tuple[Path, float]] = (),
    *,
    merge_dtype: MergeDtype = "float32",
    pre: str | None = None,
    tokenizer: Path | None = None,
) -> Inputs:
    """Open base and adapters and check that they fit each other.

    `adapters`: (folder, weight). `pre`: name of the pre-tokenizer where it is not recognised. `tokenizer`: a folder
    whose tokenizer is to be used instead of the adapter's or the base's.
    """
    if tokenizer is not None and not (tokenizer / "tokenizer.json").is_file():
        raise NotFoundError(f"no tokenizer.json in {tokenizer}", hint="give the folder that holds the tokenizer")
    with ExitStack() as stack:
        opened = tuple((_closed_by(stack, open_adapter(folder)), weight) for folder, weight in adapters)
        gguf = stack.enter_context(GGUFFile(base.path)) if base.kind == "gguf" else None
        raw, architecture = _open_gguf(gguf) if gguf is not None else _open_folder(base.path)
        stack.callback(raw.close)
        merged = MergedSource(raw, opened, dtype=merge_dtype) if opened else None
        weights: WeightSource = merged or raw
        model_folder = base.path if gguf is None else None
        folder = tokenizer or _trained_tokenizer(opened) or model_folder
        vocabulary = _vocabulary(folder, gguf, weights.config, pre, model_folder)
        trained = _trained_template(opened) if tokenizer is None else None
        if trained is not None and folder in (model_folder, None):
            vocabulary = vocabulary.with_chat_template(trained)
        inputs = Inputs(
            base=base,
            adapters=opened,
            weights=weights,
            architecture=architecture,
            vocabulary=vocabulary,
            tokenizer_folder=folder,
            gguf=gguf,
            generation=_generation(model_folder),
            warnings=(
                *(note for adapter, _ in opened for note in adapter.notes),
                *(merged.notes if merged else ()),
                *architecture.warnings(weights.config),
                *vocabulary.warnings,
            ),
            base_config=raw.config,
        )
        stack.pop_all()  # from here on they are closed with the inputs
        return inputs


def _closed_by(stack: ExitStack, adapter: Adapter) -> Adapter:
    stack.callback(adapter.close)
    return adapter


def _open_folder(path: Path) -> tuple[WeightSource, Architecture]:
    source = HuggingFaceFolder(path)
    return source, architecture_for(source.config)


def _open_gguf(file: GGUFFile) -> tuple[WeightSource, Architecture]:
    metadata = PlainMetadata(file.metadata)
    architecture = architecture_by_name(metadata.get("general.architecture"), metadata)
    shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
    config = config_for_gguf(architecture, metadata, shapes, file.read_rows)
    return GGUFSource(file, config, names_for_gguf(architecture, config, list(file.tensors))), architecture


def _trained_tokenizer(adapters: Sequence[tuple[Adapter, float]]) -> Path | None:
    for adapter, _ in adapters:
        if adapter.tokenizer_folder is not None and (adapter.tokenizer_folder / "tokenizer.json").is_file():
            return adapter.tokenizer_folder
    return None


def _trained_template(adapters: Sequence[tuple[Adapter, float]]) -> str | None:
    """The chat template that an adapter's folder brings without a whole tokenizer."""
    for adapter, _ in adapters:
        path = adapter.folder / "chat_template.jinja"
        if path.is_file():
            try:
                return path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as err:
                raise BadConfigError(f"{path} can't be read: {err}", hint="save it as UTF-8, or remove it") from err
    return None


def _vocabulary(
    folder: Path | None, gguf: GGUFFile | None, config: Mapping[str, Any], pre: str | None, model_folder: Path | None
) -> Vocabulary:
    of_gguf = vocabulary_from_gguf(gguf.metadata) if gguf is not None else None
    if folder is not None:
        found = read_vocabulary(folder, vocab_size=int(config["vocab_size"]), pre=pre, model_folder=model_folder)
        if found.chat_template is None and of_gguf is not None and of_gguf.chat_template is not None:
            return found.with_chat_template(of_gguf.chat_template)
        return found
    if of_gguf is None:
        raise NotFoundError("no tokenizer: neither the base nor the adapter brings one")
    return of_gguf


def _generation(folder: Path | None) -> Mapping[str, Any]:
    if folder is None:
        return {}
    path = folder / "generation_config.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as err:
        raise BadConfigError(f"{path} is no JSON: {err}", hint="repair the file or remove it") from err
    return found if isinstance(found, dict) else {}


class PlainMetadata(Mapping[str, Any]):
    """A GGUF's metadata without the types, decoded only where it is looked at."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def __getitem__(self, key: str) -> Any:
        return self._metadata[key].data

    def __iter__(self) -> Iterator[str]:
        return iter(self._metadata)

    def __len__(self) -> int:
        return len(self._metadata)
