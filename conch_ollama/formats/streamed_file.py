"""The life of a file that is written as a stream: its header at once, then data, its name when all of it has come.

What the header says and what the data must be is the business of each format.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from conch_ollama.formats.partial_file import PartialFile


class StreamedFile:
    """A context manager. The file gets its name at `finish` (called on leaving, if nothing went wrong); an exception
    leaves nothing behind. Raises `NoSpaceError`, `NotWritableError`, `OutputError`.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self.sha256: str | None = None
        self._header = header
        self._file = PartialFile(path)

    def finish(self) -> str:
        """Check that all bytes came, give the file its name, and return its sha256 in hexadecimal."""
        if self.sha256 is None:
            self._check_complete()
            self.sha256 = self._file.finish()
        return self.sha256

    def close(self) -> str:
        """The same as `finish`."""
        return self.finish()

    def _check_complete(self) -> None:
        """Raises `ShapeError` where bytes that were announced did not come."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._file.__enter__()
        try:
            self._file.write(self._header)
        except BaseException:
            self._file.discard()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            if self.sha256 is None:
                self._file.discard()
