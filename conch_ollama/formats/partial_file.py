"""A file that comes to be all at once: written as `name.partial`, hashed on the way, renamed when it is whole.

A run that is killed leaves only the partial, never a file that looks finished. Whether an existing output may be
replaced is the caller's business.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from conch_ollama.errors import ConchError, NoSpaceError, NotWritableError, OutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}


class PartialFile:
    """The file at `path` while it is being written; to be used as a context manager.

    Leaving the context without `finish` removes the partial. Raises `NoSpaceError`, `NotWritableError`, `OutputError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.written = 0
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        try:
            self._file = self.partial.open("wb", buffering=1 << 20)
        except OSError as err:
            raise output_error(self.path, err) from err
        return self

    def write(self, block: NDArray[np.uint8] | bytes) -> None:
        """Append the bytes of `block`."""
        if self._file is None:
            raise OutputError(f"{self.path} is not open for writing")
        data = block if isinstance(block, bytes) else _bytes_of(block)
        try:
            self._file.write(data)
        except OSError as err:
            raise output_error(self.path, err) from err
        self._hash.update(data)
        self.written += len(data)

    def finish(self) -> str:
        """Bring everything to the disk, give the file its name, and return the sha256 of its bytes in hexadecimal."""
        if self._file is None:
            raise OutputError(f"{self.path} is not open for writing")
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            self.partial.replace(self.path)
        except OSError as err:
            raise output_error(self.path, err) from err
        _sync_folder(self.path.parent)
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Remove the partial; nothing happens after `finish`."""
        if self._file is None and not self.partial.exists():
            return
        with contextlib.suppress(OSError):  # closing flushes, which fails again on a full disk
            if self._file is not None:
                self._file.close()
        self._file = None
        with contextlib.suppress(OSError):
            self.partial.unlink()

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        if self._file is not None or kind is not None:
            self.discard()


def _bytes_of(block: NDArray[np.uint8]) -> memoryview:
    import numpy as np  # only for who has blocks of it

    return np.ascontiguousarray(block).reshape(-1).view(np.uint8).data


def output_error(path: Path, err: OSError) -> ConchError:
    """The error of the tree for a failure of the system while writing `path`."""
    if err.errno in _NO_SPACE:
        return NoSpaceError(f"no space left for {path}", hint="free some disk space or choose another output folder")
    if err.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotWritableError(f"{path} can't be written: {err.strerror}", hint="choose a folder you may write to")
    if err.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotWritableError(f"{path} can't be written: its folder is not there", hint="make the folder first")
    return OutputError(f"{path} can't be written: {err.strerror or err}")


def _sync_folder(folder: Path) -> None:
    # The rename itself must reach the disk. Windows can't open folders: there the file system's journal has to do.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
