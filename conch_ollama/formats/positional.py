"""A file open for reading at any place from several threads at once, into buffers of the reader's own.

No memory mapping: mapped pages count as memory of the process, and the peak would be the model. Knows no format.
numpy is imported where an array is asked for: who reads headers alone does without.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from conch_ollama.errors import BadFileError, NotFoundError, TruncatedFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: macOS reads no more than 2 GiB at once.
_AT_ONCE = 1 << 30


class PositionalFile:
    """An open file and its size in bytes at opening.

    Raises `NotFoundError` for a path that is not there, `BadFileError` for one that can't be opened (a folder, no
    permission).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError as err:
            raise NotFoundError(f"{path} is not there", hint="check the path") from err
        except OSError as err:
            raise BadFileError(
                f"{path} can't be opened: {err.strerror}", hint="it must be a file you may read"
            ) from err
        self.size = os.fstat(self._file.fileno()).st_size
        self._lock = threading.Lock()

    def read(self, offset: int, count: int, *, what: str = "data") -> NDArray[np.uint8]:
        """`count` bytes from `offset` on, in a fresh array. `what` names them in the error of a file cut short."""
        import numpy as np

        self._check(offset, count, what)
        buffer = np.empty(count, dtype=np.uint8)
        self._fill(buffer.data, offset, what)
        return buffer

    def read_bytes(self, offset: int, count: int, *, what: str = "data") -> bytes:
        """As `read`, as bytes."""
        self._check(offset, count, what)
        buffer = bytearray(count)
        self._fill(memoryview(buffer), offset, what)
        return bytes(buffer)

    def _check(self, offset: int, count: int, what: str) -> None:
        # Before the buffer is made: a wrong header must not ask for more memory than the file could fill.
        if offset + count > self.size:
            raise self._truncated(what, offset + count, self.size)

    def _fill(self, view: memoryview, offset: int, what: str) -> None:
        count, done = len(view), 0
        while done < count:
            step = self._read_into(view[done : done + _AT_ONCE], offset + done)
            if step == 0:
                raise self._truncated(what, offset + count, offset + done)
            done += step

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _read_into(self, view: memoryview, offset: int) -> int:
        try:
            if hasattr(os, "preadv"):
                return os.preadv(self._file.fileno(), [view], offset)
            with self._lock:  # Windows has no positional read
                self._file.seek(offset)
                return self._file.readinto(view) or 0
        except OSError as err:
            raise BadFileError(f"{self.path} can't be read: {err.strerror}") from err
        except ValueError as err:
            raise BadFileError(f"{self.path} has been closed already") from err

    def _truncated(self, what: str, needed: int, there: int) -> TruncatedFileError:
        return TruncatedFileError(
            f"{self.path} is cut short: {what} goes up to byte {needed}, the file ends at {there}",
            hint="the download or copy did not finish: fetch the file again",
        )
