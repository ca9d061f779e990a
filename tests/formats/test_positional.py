"""Positional reads: right bytes from several threads, with and without the system's positional read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from conch_ollama.errors import BadFileError, NotFoundError, TruncatedFileError
from conch_ollama.formats.positional import PositionalFile


@pytest.fixture(params=["positional", "seek"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "seek":  # what Windows has
        monkeypatch.delattr(os, "preadv", raising=False)
    return str(request.param)


def test_threads_read_each_its_own_place(tmp_path: Path, way: str) -> None:
    data = np.random.default_rng(1).integers(0, 256, 1 << 20, dtype=np.uint8)
    (tmp_path / "a b 文").write_bytes(data.tobytes())
    with PositionalFile(tmp_path / "a b 文") as file, ThreadPoolExecutor(4) as pool:
        starts = [(i * 7919) % (data.size - 5000) for i in range(200)]
        for start, read in zip(starts, pool.map(lambda start: file.read(start, 5000), starts), strict=True):
            assert np.array_equal(read, data[start : start + 5000])
            assert read.flags.writeable
            assert read.flags.owndata


def test_nothing_and_everything(tmp_path: Path, way: str) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    with PositionalFile(tmp_path / "x") as file:
        assert file.size == 3
        assert file.read(0, 3).tobytes() == b"abc"
        assert file.read(3, 0).size == 0


@pytest.mark.bad_input("file shrinks while it is read")
def test_a_file_that_shrinks_is_an_error_not_an_endless_loop(tmp_path: Path, way: str) -> None:
    (tmp_path / "x").write_bytes(bytes(100))
    with PositionalFile(tmp_path / "x") as file:
        os.truncate(tmp_path / "x", 10)
        with pytest.raises(TruncatedFileError, match="tensor w goes up to byte 50, the file ends at 10") as caught:
            file.read(5, 45, what="tensor w")
    assert caught.value.code == "truncated-file"


@pytest.mark.bad_input("path that is not there, or is a folder")
def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        PositionalFile(tmp_path / "nowhere")
    with pytest.raises(BadFileError) as caught:
        PositionalFile(tmp_path)
    assert str(tmp_path) in caught.value.message


def test_reading_after_close_is_an_error(tmp_path: Path, way: str) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    file = PositionalFile(tmp_path / "x")
    file.close()
    file.close()
    with pytest.raises(BadFileError, match="closed"):
        file.read(0, 1)
