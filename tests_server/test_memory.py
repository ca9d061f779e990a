"""Two models of 1.5 billion parameters behind one shim that may have 4 GB: they take turns, and the idle one goes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from tests_server.soak import serving

LIMIT = 4 * 10**9
TEXT = """
port = 0
[llama]
memory = "4GB"
[models.one]
path = "{one}"
keep_alive = "3s"
num_ctx = 2048
[models.two]
path = "{two}"
keep_alive = "3s"
num_ctx = 2048
"""


def taken(shim: psutil.Process) -> int:
    """Bytes of memory of the shim and its workers. Shared pages count once on Linux, elsewhere for each process."""
    found = 0
    for process in [shim, *shim.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            told = process.memory_full_info()
            found += getattr(told, "pss", None) or told.rss
    return found


class Sampled:
    """`most`: the most that was taken at any time."""

    def __init__(self, shim: psutil.Process) -> None:
        self.most = 0
        self._shim = shim
        self._end = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[Sampled]:
        thread = threading.Thread(target=self._sample)
        thread.start()
        try:
            yield self
        finally:
            self._end.set()
            thread.join()

    def _sample(self) -> None:
        while not self._end.wait(0.05):
            self.most = max(self.most, taken(self._shim))


def test_two_models_take_turns_within_4_gb(tmp_path: Path, large_ggufs: tuple[Path, Path]) -> None:
    one, two = large_ggufs
    assert one.stat().st_size + two.stat().st_size < LIMIT, "what they need does not fit"
    config = tmp_path / "conch.toml"
    config.write_text(TEXT.format(one=one.as_posix(), two=two.as_posix()), encoding="utf-8")
    with (
        serving("--config", str(config), port=False) as (url, shim),
        httpx.Client(base_url=url, timeout=120, trust_env=False) as client,
        Sampled(shim).running() as sampled,
    ):
        before = taken(shim)

        def ask(name: str) -> tuple[str, int]:
            body = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
            answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
            return answer["model"], answer["usage"]["completion_tokens"]

        def loaded() -> list[str]:
            return [one["name"].removesuffix(":latest") for one in client.get("/api/ps").json()["models"]]

        assert ask("one") == ("one", 2)
        assert loaded() == ["one"]
        with_one = taken(shim)
        assert with_one > before + one.stat().st_size * 0.9, "it is in memory"
        assert ask("two") == ("two", 2)
        assert loaded() == ["two"]
        # Both at once: one waits until the other has ended its answer, then takes its place.
        with ThreadPoolExecutor() as pool:
            assert list(pool.map(ask, ("one", "two"))) == [("one", 2), ("two", 2)]
        assert len(loaded()) == 1
        while loaded() or shim.children():
            time.sleep(0.1)
        assert taken(shim) < before + (200 << 20), "what is idle gives its memory back"
    assert with_one - (1 << 20) < sampled.most < LIMIT  # samples of one plateau: they differ by some kB
