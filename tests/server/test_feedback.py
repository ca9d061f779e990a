"""Ratings: whose they are, what is kept of them, pairs made of them, and what a client is told where none is kept."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from conch_ollama.errors import BadFileError, NotFoundError, NotWritableError
from conch_ollama.runtimes.protocol import ModelCard
from conch_ollama.server.feedback import pairs, ratings
from conch_ollama.server.keys import KeyFile
from conch_ollama.server.settings import Security, Settings
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim, figures

CHAT = {"model": "made", "messages": [{"role": "user", "content": "secret question"}]}


def test_ratings_become_pairs(tmp_path: Path) -> None:
    file = tmp_path / "ratings.sqlite"
    runtime = MadeRuntime()
    runtime.cards = [ModelCard("made", version="v1")]
    with RunningShim({"made": runtime}, Settings(feedback=file)) as running:

        def ask(words: list[str], path: str = "/v1/chat/completions", **more: object) -> str:
            runtime.words = words
            answer = running.client.post(path, json=CHAT | more)
            return answer.json()["id"] if not more else json.loads(answer.text.split("\n\n")[0][6:])["id"]

        def rate(**given: str) -> httpx.Response:
            return running.client.post("/v1/feedback", json=given)

        first = ask(["bad", " one"])
        assert rate(id=first, rating="down").json() == {"id": first, "rating": "down", "model": "made", "version": "v1"}
        second = ask(["good"], stream=True)
        assert rate(id=second, rating="up", comment="yes").status_code == 200
        third = ask(["so so"])
        assert rate(id=third, rating="down", better="best").status_code == 200
        assert rate(id="nix", rating="up").status_code == 404
        running.client.post("/api/chat", json=CHAT, headers={"x-request-id": "of-ollama"})
        assert rate(id="of-ollama", rating="up").status_code == 200
        assert rate(id=third, rating="sideways").status_code == 400
        assert figures(running)["conch_feedback_total", "down", "made", "v1"] == 2
    found = list(ratings(file))
    assert [(r.rating, r.said, r.version) for r in found] == [
        ("down", "bad one", "v1"),
        ("up", "good", "v1"),
        ("down", "so so", "v1"),
        ("up", "so so", "v1"),
    ]
    made = list(pairs(iter(found)))
    assert [(pair["chosen"]["value"], pair["rejected"]["value"]) for pair in made] == [
        ("best", "so so"),
        ("good", "bad one"),
    ]
    assert made[0]["conversations"] == [{"from": "human", "value": "secret question"}]
    assert list(ratings(file, model="other")) == []


@pytest.mark.bad_input("ratings that are not there, or no ratings")
def test_ratings_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nix"):
        list(ratings(tmp_path / "nix"))
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 100)
    with pytest.raises(BadFileError, match="text"):
        list(ratings(tmp_path / "text"))


def test_a_rating_is_its_callers_own(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    ann, bob = ({"authorization": f"Bearer {keys.add(name)}"} for name in ("ann", "bob"))
    settings = Settings(feedback=tmp_path / "f.sqlite", security=Security(keys=keys.path))
    with RunningShim({"made": MadeRuntime()}, settings) as running:
        answer = running.client.post("/v1/chat/completions", json=CHAT, headers=ann).json()["id"]
        given = {"id": answer, "rating": "up"}
        assert running.client.post("/v1/feedback", json=given, headers=bob).status_code == 404
        assert running.client.post("/v1/feedback", json=given, headers=ann).status_code == 200


def test_ratings_that_are_not_kept(made) -> None:
    running, _ = made
    assert running.client.post("/v1/feedback", json={"id": "x", "rating": "up"}).status_code == 501


@pytest.mark.bad_input("a rating that finds no room, or no file, to be kept in")
def test_a_rating_that_is_lost_is_a_fault_of_the_shim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ratings.sqlite"
    connect = sqlite3.connect

    def nearly_full(*given: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*given, **options)
        database.execute("PRAGMA max_page_count = 3")  # a disk can't be filled without being root
        return database

    def codes(running: RunningShim) -> tuple[int, str, str]:
        answer = running.client.post("/v1/feedback", json={"id": asked, "rating": "up", "comment": "x" * 9999})
        error = answer.json()["error"]
        assert str(tmp_path) not in answer.text and "log" in error["message"]
        assert answer.headers["x-should-retry"] == "false"
        return answer.status_code, error["type"], error["code"]

    with RunningShim({"made": MadeRuntime()}, Settings(feedback=file)) as running:
        asked = running.client.post("/v1/chat/completions", json=CHAT).json()["id"]
        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", nearly_full)
            assert codes(running) == (507, "server_error", "no_space")
        assert list(ratings(file)) == []
        file.unlink()
        file.mkdir()
        assert codes(running) == (500, "server_error", "not_writable")
        document = running.client.get("/openapi.json").json()
    assert {"500", "507"} <= document["paths"]["/v1/feedback"]["post"]["responses"].keys()
    assert "507" not in document["paths"]["/v1/embeddings"]["post"]["responses"]
    told = [record.getMessage() for record in caplog.records if "a rating is lost" in record.getMessage()]
    assert [str(file) in text for text in told] == [True, True]


@pytest.mark.bad_input("a file of ratings that can't be written")
def test_ratings_where_they_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotWritableError, match="ratings can't be kept") as caught:
        RunningShim({"made": MadeRuntime()}, Settings(feedback=tmp_path / "file" / "ratings.sqlite")).__enter__()
    assert caught.value.code == "not-writable"
    with RunningShim({"made": MadeRuntime()}) as running:
        with pytest.raises(NotWritableError):
            running.shim.check(Settings(feedback=tmp_path / "file" / "ratings.sqlite"))
        assert running.client.post("/v1/chat/completions", json=CHAT).is_success
