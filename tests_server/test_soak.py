"""The soak, shortened: half a minute, a small model that says an exact text, two kills and more."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.runtimes.places import write_models
from tests_server.soak import soak


def test_half_a_minute(tmp_path: Path) -> None:
    result = asyncio.run(soak(30, streams=16, kill_every=9, model=write_models(tmp_path)["plain"]))
    assert len(result.kills) >= 2
    result.check()
