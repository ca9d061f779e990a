"""Where the rows of a pass go: a GGUF with its types, a Hugging Face folder in the base's dtype.

A sink converts a block in whatever thread has it, and writes blocks in order in one thread. It hashes what it writes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from conch_ollama.architectures.outputs import Output
from conch_ollama.exporter.hugging_face import HuggingFacePlan, encode_rows
from conch_ollama.exporter.plan import GGUFPlan
from conch_ollama.formats.ggml_types import GGML_TYPES
from conch_ollama.formats.gguf_writer import GGUFWriter
from conch_ollama.formats.partial_file import output_error
from conch_ollama.formats.safetensors import SafetensorsWriter
from conch_ollama.quantize.kernels import Kernel, kernel_for

Rows = NDArray[np.float32]
Block = NDArray[np.uint8]


@dataclass(frozen=True)
class WrittenFile:
    """A finished file: its sha256 (hex) and size in bytes."""

    path: str
    sha256: str
    size: int


class Sink(Protocol):
    """One consumer of a pass."""

    def wants(self, output: Output) -> bool:
        """Whether this sink takes that tensor."""
        ...

    def keeps(self, index: int, dtype: str) -> bool:
        """Whether rows that are stored as `dtype` can go into that tensor as they are."""
        ...

    def convert(self, index: int, start: int, source_rows: Rows, output_rows: Rows) -> Block:
        """Bytes of the block that begins at row `start`, in source and in output order. Called by many threads."""
        ...

    def write(self, index: int, block: Block) -> None:
        """Append a block; blocks come in order."""
        ...

    def finish(self) -> list[WrittenFile]:
        """Complete the files and give them their names."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class GGUFSink:
    """Quantises and streams into one GGUF."""

    def __init__(self, plan: GGUFPlan) -> None:
        self._plan = plan
        self._kernels: dict[int, Kernel] = {spec.type: kernel_for(spec.type) for spec in plan.specs}
        self._writer = GGUFWriter(plan.path, plan.metadata, plan.specs)

    def wants(self, output: Output) -> bool:
        return True

    def keeps(self, index: int, dtype: str) -> bool:
        return GGML_TYPES[self._plan.specs[index].type].name == dtype

    def convert(self, index: int, start: int, source_rows: Rows, output_rows: Rows) -> Block:
        spec = self._plan.specs[index]
        rows = output_rows.reshape(-1, spec.shape[-1])
        return self._kernels[spec.type].quantize(rows, spec.type, tensor=spec.name, first_row=start)

    def write(self, index: int, block: Block) -> None:
        self._writer.write(block)

    def finish(self) -> list[WrittenFile]:
        return [WrittenFile(str(self._plan.path), self._writer.finish(), self._plan.size)]

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, err, trace)


class HuggingFaceSink:
    """Streams merged weights into the shards of a new Hugging Face folder, one shard open at a time.

    The folder must not be there yet: a failure removes it whole.
    """

    def __init__(self, plan: HuggingFacePlan, names: Mapping[int, str]) -> None:
        self._plan = plan
        self._names = names
        self._shard = -1
        self._writer: SafetensorsWriter | None = None
        self._written: list[WrittenFile] = []

    def wants(self, output: Output) -> bool:
        return output.source is not None and not output.generated

    def keeps(self, index: int, dtype: str) -> bool:
        return False  # a folder holds floats

    def convert(self, index: int, start: int, source_rows: Rows, output_rows: Rows) -> Block:
        return encode_rows(source_rows, self._plan.dtypes[self._names[index]])

    def write(self, index: int, block: Block) -> None:
        shard = self._plan.shard_of[self._names[index]]
        if shard != self._shard:
            self._close_shard()
            self._shard = shard
            planned = self._plan.shards[shard]
            self._writer = SafetensorsWriter(planned.path, planned.tensors, {"format": "pt"})
            self._writer.__enter__()
        if self._writer is not None:
            self._writer.write(block)

    def _close_shard(self) -> None:
        if self._writer is not None:
            path = self._plan.shards[self._shard].path
            digest = self._writer.finish()
            self._writer = None
            self._written.append(WrittenFile(str(path), digest, path.stat().st_size))

    def finish(self) -> list[WrittenFile]:
        self._close_shard()
        return self._written

    def __enter__(self) -> Self:
        try:
            self._plan.path.mkdir(parents=True)
        except OSError as err:
            raise output_error(self._plan.path, err) from err
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._writer is not None:
                self._writer.__exit__(kind, err, trace)
            shutil.rmtree(self._plan.path, ignore_errors=True)
