"""A model's tokenizer as the proof of a TEMPLATE uses it: text to ids, opened only when the first text comes.

A folder's tokenizer runs in the Rust library, a GGUF's in llama.cpp, which loads its vocabulary for that. The proof
asks only where the server puts a BOS in front: the same bytes are the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.tokenizers.original import load

_NUM_CTX = 256
#: Bytes of a GGUF that llama.cpp loads in a moment. A larger one is not loaded for this: llama.cpp itself reads a text
#: after a BOS as it reads it at the start, so what could be found is little.
LARGEST = 1_000_000_000


class TokenIds:
    """Token ids of texts, special tokens parsed and none added; each text is encoded once.

    `folder` with tokenizer.json, or else `gguf` (unless it is larger than LARGEST). Close it, or use it as a context
    manager. The first call raises what the tokenizer raises that can't be opened: BadConfigError, RuntimeFailedError.
    """

    def __init__(self, *, folder: Path | None = None, gguf: Path | None = None) -> None:
        self._folder = folder
        self._gguf = gguf if gguf is not None and gguf.stat().st_size <= LARGEST else None
        self._stack = ExitStack()
        self._encode: Callable[[str], Sequence[int]] | None = None
        self._known: dict[str, Sequence[int]] = {}

    @property
    def is_there(self) -> bool:
        """Whether there is a tokenizer at all."""
        return self._folder is not None or self._gguf is not None

    @property
    def was_used(self) -> bool:
        """Whether ids had to be compared."""
        return self._encode is not None

    def __call__(self, text: str) -> Sequence[int]:
        """The ids of a text."""
        found = self._known.get(text)
        if found is None:
            if self._encode is None:
                self._encode = self._open()
            found = self._known[text] = self._encode(text)
        return found

    def _open(self) -> Callable[[str], Sequence[int]]:
        if self._folder is not None:
            tokenizer = load(self._folder)
            return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)
        if self._gguf is None:
            raise ValueError("there is no tokenizer to encode with")
        worker = self._stack.enter_context(LlamaCppWorker(self._gguf, num_ctx=_NUM_CTX, gpu_layers=0))
        return worker.tokenize

    def close(self) -> None:
        """End llama.cpp, if it was started."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
