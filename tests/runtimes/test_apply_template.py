"""The prompts that the embedded runtime makes by a file's own chat template."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from conch_ollama.errors import BadTemplateError, RuntimeFailedError
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.workflows.template_carrier import TEMPLATE_KEY, write_carrier

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no ' + m.content) }}{% endif %}"
    "<{{ m.role }}>{{ m.content | trim }}{% endfor %}{% if tools %}{{ tools[0].function.name }}{% endif %}"
    "{% if add_generation_prompt %}<assistant>{{ mood if mood is defined }}{% endif %}"
)
HI = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "One, "}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_carrier(tmp_path_factory.mktemp("template") / "a.gguf", {TEMPLATE_KEY: TEMPLATE})


@pytest.fixture(scope="module")
def worker(path: Path) -> Iterator[LlamaCppWorker]:
    with LlamaCppWorker(path, num_ctx=256, threads=1) as found:
        yield found


def test_a_question_gets_the_generation_prompt_unless_it_is_not_wanted(worker: LlamaCppWorker) -> None:
    assert worker.apply_template([HI]) == "<user>Hi<assistant>"
    assert worker.apply_template([HI], add_generation_prompt=False) == "<user>Hi"


def test_options_reach_the_template_as_variables(worker: LlamaCppWorker) -> None:
    assert worker.apply_template([HI], mood="well") == "<user>Hi<assistant>well"
    assert worker.apply_template([HI], tools=[WEATHER]) == "<user>Hiweather<assistant>"


def test_a_last_answer_is_continued_as_it_is(worker: LlamaCppWorker) -> None:
    assert worker.apply_template([HI, ANSWER]) == "<user>Hi<assistant>One, "
    assert worker.apply_template([HI, ANSWER], continue_final_message=True) == "<user>Hi<assistant>One, "


def test_a_last_answer_goes_through_the_template_where_answers_are_not_continued(path: Path) -> None:
    with LlamaCppWorker(path, num_ctx=256, threads=1, continue_answers=False) as worker:
        assert worker.apply_template([HI, ANSWER], add_generation_prompt=False) == "<user>Hi<assistant>One,"
        assert worker.apply_template([HI, ANSWER], continue_final_message=True) == "<user>Hi<assistant>One, "
        for _ in range(250):  # more than the server answers on one connection
            assert worker.apply_template([HI]) == "<user>Hi<assistant>"


@pytest.mark.bad_input("a conversation that the chat template refuses, asked of llama.cpp")
def test_a_refused_conversation_is_an_error_that_says_why(worker: LlamaCppWorker) -> None:
    with pytest.raises(BadTemplateError, match="no Brief"):
        worker.apply_template([{"role": "system", "content": "Brief"}, HI])
    assert worker.apply_template([HI]) == "<user>Hi<assistant>"


@pytest.mark.bad_input("a worker that has ended, asked for a prompt")
def test_a_worker_that_is_gone_is_a_failed_runtime(path: Path) -> None:
    with LlamaCppWorker(path, num_ctx=256, threads=1) as worker:
        worker._process.kill()
        with pytest.raises(RuntimeFailedError, match="does not come to an end"):
            worker.apply_template([HI])


def test_one_connection_serves_one_question_after_another_and_is_made_anew_when_it_was_dropped(path: Path) -> None:
    with LlamaCppWorker(path, num_ctx=256, threads=1) as worker:
        worker.apply_template([HI])
        (door,) = worker._doors
        assert worker.tokenize("Hi")
        assert worker._doors == [door]
        assert door.sock is not None
        door.sock.shutdown(socket.SHUT_RDWR)
        assert worker.apply_template([HI]) == "<user>Hi<assistant>"
        assert worker._doors != [door]
