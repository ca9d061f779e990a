"""Where fetched parts are kept, and how they get there: built beside their place by one process, then renamed.

Not a download tool: what a part consists of is the business of the part's own file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from conch_ollama.resources import cache_folder

LOCK_STALE_S = 600.0


def provide(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` in the cache; where it is missing, `build(empty_folder)` fills it. Processes may race."""
    folder = cache_folder()  # outside the repository, so that a fresh clone finds it again
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / name
    if place.is_dir():
        return place
    with _locked(place.with_name(f"{name}.lock"), until=place.is_dir):
        if not place.is_dir():
            unfinished = Path(tempfile.mkdtemp(prefix=f"{name}.partial-", dir=place.parent))
            try:
                build(unfinished)
                _rename(unfinished, place)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return place


def download(requirements: Sequence[str], folder: Path) -> list[Path]:
    """Downloads wheels, without dependencies, from pip's package registry. Lines may carry `--hash`."""
    listed = folder / "requirements.txt"
    listed.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--pre"]
    command += ["--only-binary", ":all:", "--dest", str(folder), "--requirement", str(listed)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pip could not download {', '.join(requirements)}:\n{done.stderr.strip()}")
    return sorted(folder.glob("*.whl"))


def _rename(unfinished: Path, place: Path) -> None:
    try:
        unfinished.rename(place)
    except OSError:
        if not place.is_dir():  # a process that thought our lock stale was faster; both built the same
            raise


@contextlib.contextmanager
def _locked(lock: Path, *, until: Callable[[], bool]) -> Iterator[None]:
    """Holds `lock` (a file created exclusively); a waiting process leaves as soon as `until()` holds."""
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            if until():
                yield
                return
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > LOCK_STALE_S:  # its owner was killed
                    lock.unlink()
            time.sleep(0.2)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
