"""Snapshots in a hub cache on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from conch_ollama.errors import NotFoundError
from conch_ollama.sources.hub_cache import is_cache_folder, origin_of, snapshot_in

FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "hub" / "models--Qwen--Qwen2.5-0.5B"
    (folder / "snapshots" / FIRST).mkdir(parents=True)
    (folder / "snapshots" / SECOND).mkdir()
    (folder / "refs" / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(SECOND + "\n", encoding="utf-8")
    (folder / "refs" / "v1").write_text(FIRST, encoding="utf-8")
    return folder


def test_main_a_tag_and_a_commit(folder: Path) -> None:
    assert is_cache_folder(folder)
    assert snapshot_in(folder).name == SECOND
    assert snapshot_in(folder, "v1").name == FIRST
    assert snapshot_in(folder, FIRST).name == FIRST
    assert snapshot_in(folder, FIRST[:8]).name == FIRST


def test_without_a_main_the_only_one_is_meant(folder: Path) -> None:
    (folder / "refs" / "main").unlink()
    with pytest.raises(NotFoundError, match=FIRST):
        snapshot_in(folder)
    (folder / "snapshots" / FIRST).rmdir()
    assert snapshot_in(folder).name == SECOND


@pytest.mark.bad_input("hub cache without the snapshot of a revision")
def test_a_revision_that_is_not_there_names_those_that_are(folder: Path) -> None:
    for revision in ("v2", "3" * 40, "../../x"):
        with pytest.raises(NotFoundError) as caught:
            snapshot_in(folder, revision)
        assert str(folder) in caught.value.message
        assert revision in caught.value.message
        assert SECOND in caught.value.message


def test_the_path_of_a_snapshot_says_where_it_comes_from(folder: Path) -> None:
    assert origin_of(folder / "snapshots" / FIRST) == ("Qwen/Qwen2.5-0.5B", FIRST)
    assert origin_of(folder) is None
    assert origin_of(folder / "refs" / "main") is None
    assert origin_of(folder.parent / "models--gpt2" / "snapshots" / FIRST) == ("gpt2", FIRST)
    assert not is_cache_folder(folder / "snapshots")
