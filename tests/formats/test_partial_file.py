"""Files that come to be all at once: what is left after success, failure, a full disk, and a killed process."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conch_ollama.errors import ConchError, NoSpaceError, NotWritableError, OutputError
from conch_ollama.formats.partial_file import PartialFile, output_error


def test_the_file_gets_its_name_at_the_end_and_the_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    target = tmp_path / "名 字.bin"
    with PartialFile(target) as out:
        out.write(b"abc")
        out.write(np.arange(6, dtype=np.uint8).reshape(2, 3))
        out.write(np.arange(10, dtype=np.uint8)[::3])
        assert not target.exists()
        digest = out.finish()
    assert target.read_bytes() == b"abc" + bytes(range(6)) + bytes([0, 3, 6, 9])
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    assert out.written == 13
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_an_exception_leaves_nothing_and_an_older_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stop"), PartialFile(target) as out:
        out.write(b"new")
        raise RuntimeError("stop")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_leaving_without_finish_leaves_nothing(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "x.bin") as out:
        out.write(b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_replaced_keeps_its_new_content_when_the_context_fails_later(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="later"), PartialFile(tmp_path / "x.bin") as out:
        out.write(b"new")
        out.finish()
        raise RuntimeError("later")
    assert (tmp_path / "x.bin").read_bytes() == b"new"


def test_writing_outside_the_context_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not open"):
        PartialFile(tmp_path / "x.bin").write(b"a")
    with pytest.raises(OutputError, match="not open"):
        PartialFile(tmp_path / "x.bin").finish()


@pytest.mark.bad_input("process killed in mid-write")
def test_a_killed_process_leaves_only_the_partial(tmp_path: Path) -> None:
    target = tmp_path / "model.gguf"
    target.write_bytes(b"old")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom conch_ollama.formats.partial_file import PartialFile\n"
        "with PartialFile(Path(sys.argv[1])) as out:\n"
        "    out.write(bytes(3_000_000))\n    print('written', flush=True)\n    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    child.kill()
    child.wait()
    child.stdout.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.gguf", "model.gguf.partial"]
    assert target.read_bytes() == b"old"
    with PartialFile(target) as out:  # the next run goes over it
        out.write(b"new")
        out.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


if sys.platform == "linux":  # /dev/full is a disk that is always full

    @pytest.mark.bad_input("disk full while writing")
    @pytest.mark.parametrize("count", [10, 5_000_000])
    def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path, count: int) -> None:
        target = tmp_path / "x.bin"
        target.write_bytes(b"old")
        (tmp_path / "x.bin.partial").symlink_to("/dev/full")
        with pytest.raises(NoSpaceError) as caught, PartialFile(target) as out:
            out.write(bytes(count))
            out.finish()
        assert caught.value.code == "no-space"
        assert str(target) in caught.value.message
        assert list(tmp_path.iterdir()) == [target]
        assert target.read_bytes() == b"old"


@pytest.mark.bad_input("output folder is not there")
def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "x.bin"
    with pytest.raises(NotWritableError) as caught, PartialFile(target):
        pass
    assert caught.value.code == "not-writable"
    assert str(target) in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EACCES, NotWritableError),
        (errno.EROFS, NotWritableError),
        (errno.ENOTDIR, NotWritableError),
        (errno.EIO, OutputError),
    ],
)
@pytest.mark.bad_input("no permission, read-only or broken disk")
def test_failures_of_the_system_become_errors_of_the_tree(number: int, kind: type[ConchError]) -> None:
    err = output_error(Path("out.gguf"), OSError(number, os.strerror(number)))
    assert type(err) is kind
    assert "out.gguf" in err.message
