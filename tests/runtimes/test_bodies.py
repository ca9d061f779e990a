"""Requests as the runtimes send them on; durations, sizes, cards: what needs no server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import RuntimeRefusedError
from conch_ollama.runtimes import llama_body, ollama_body
from conch_ollama.runtimes.durations import keep_alive_seconds
from conch_ollama.runtimes.gguf_card import read_facts
from conch_ollama.runtimes.machine_fit import Machine, fit
from conch_ollama.runtimes.ollama_cards import parameters, seconds
from conch_ollama.runtimes.one_time import OneTime
from tests.parts.scripted_gguf import scripted_gguf
from tests.runtimes.places import HI, TEXT


def llama(body: dict[str, Any], **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(llama_body.chat_request({"messages": HI, **body}, **{"options": {}, **settings}))
    return found


def test_the_request_wins_over_its_options_and_those_over_the_models() -> None:
    options = {"temperature": 0.1, "top_k": 1, "stop": ("a", "b"), "num_ctx": 4096, "seed": 3}
    body = {"temperature": 0.3, "options": {"temperature": 0.2, "top_k": 2, "num_predict": 7}, "seed": None}
    request = llama(body, options=options)
    assert {key: request[key] for key in ("temperature", "top_k", "stop", "max_tokens", "seed")} == {
        "temperature": 0.3,
        "top_k": 2,
        "stop": ["a", "b"],
        "max_tokens": 7,
        "seed": 3,
    }
    assert "num_ctx" not in request and "options" not in request
    assert request["stream"] is True and request["stream_options"] == {"include_usage": True}


def test_which_adapter_is_the_models_choice_and_not_the_clients() -> None:
    assert "lora" not in llama({"lora": [{"id": 0, "scale": 1.0}]})
    assert llama({"lora": []}, lora=[{"id": 0, "scale": 0.5}])["lora"] == [{"id": 0, "scale": 0.5}]


@pytest.mark.parametrize(
    ("body", "kwargs"),
    [
        ({"think": False}, {"enable_thinking": False}),
        ({"think": "high"}, {"enable_thinking": True, "reasoning_effort": "high"}),
        ({"think": True, "chat_template_kwargs": {"enable_thinking": False}}, {"enable_thinking": False}),
        ({}, None),
    ],
)
def test_think_reaches_the_template(body: dict[str, Any], kwargs: Any) -> None:
    assert llama(body).get("chat_template_kwargs") == kwargs


def test_half_a_surrogate_pair_can_be_sent() -> None:
    assert json.loads(llama_body.encode({"x": "\ud83d"})) == {"x": "\ud83d"}


def test_ollama_gets_its_own_words() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    body = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, image]},
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
        "max_completion_tokens": 9,
        "stop": "x",
        "options": {"num_ctx": 1024, "stop": ["y"]},
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "keep_alive": "5m",
        "tools": [{"type": "function"}],
        "tool_choice": "none",
    }
    request = ollama_body.chat_request("m", body, thinks=True)
    assert request == {
        "model": "m",
        "stream": True,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a\nb", "images": ["QUJD"]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "42", "tool_name": "f"},
        ],
        "options": {"num_ctx": 1024, "stop": ["x"], "num_predict": 9},
        "format": "json",
        "think": True,
        "keep_alive": "5m",
    }
    assert "think" not in ollama_body.chat_request("m", body, thinks=False)


@pytest.mark.bad_input("a request that Ollama cannot take")
@pytest.mark.parametrize(
    "body",
    [
        {"n": 2},
        {"logit_bias": {"5": -100}},
        {"temperature": "hot"},
        {"options": {"num_ctx": "many"}},
        {"seed": True},
        {"stop": 3},
        {"messages": []},
        {"messages": [{"role": "user", "content": 3}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}]},
    ],
)
def test_what_ollama_cannot_take_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(RuntimeRefusedError) as caught:
        ollama_body.chat_request("m", {"messages": HI, **body}, thinks=False)
    assert caught.value.status == 400


@pytest.mark.bad_input("a plain completion that Ollama would answer with less than was asked for")
@pytest.mark.parametrize("body", [{"n": 2}, {"best_of": 2}, {"echo": True}, {"logit_bias": {"5": 1}}])
def test_what_ollama_would_leave_out_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(RuntimeRefusedError, match=f"Ollama .*{next(iter(body))}"):
        ollama_body.generate_request("m", {"prompt": "x", **body})


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, None),
        (5, 5.0),
        ("300", 300.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("50ms", 0.05),
        (-1, -1.0),
        ("-1m", -1.0),
    ],
)
def test_durations(given: Any, wanted: float | None) -> None:
    assert keep_alive_seconds(given) == wanted


@pytest.mark.bad_input("a keep_alive that is no duration")
@pytest.mark.parametrize("given", ["", "soon", "5x", "m5", True, [], float("nan")])
def test_no_duration(given: Any) -> None:
    with pytest.raises(RuntimeRefusedError) as caught:
        keep_alive_seconds(given)
    assert "keep_alive" in caught.value.message


def test_a_card_from_the_header(tmp_path: Path) -> None:
    template = "{% if tools %}<tool_call>{% endif %}<think></think><|im_start|><|im_end|>"
    path = scripted_gguf(tmp_path / "a.gguf", TEXT, chat_template=template, architecture="qwen3", context_length=512)
    facts = read_facts(path)
    card = facts.card
    assert (card.architecture, card.context_length, card.embedding_length) == ("qwen3", 512, 128)
    assert card.capabilities == {"completion", "tools", "thinking"}
    assert (card.quantization, card.size, card.template) == ("F32", path.stat().st_size, template)
    assert len(card.digest) == 64 and card.digest == read_facts(path).card.digest
    # Two heads of 64, keys and values, two bytes each, one layer.
    assert facts.token_bytes == 2 * (64 + 64) * 2


def test_the_fit_shrinks_with_the_machine(tmp_path: Path) -> None:
    facts = read_facts(scripted_gguf(tmp_path / "a.gguf", "x y", context_length=131072))
    heavy = type(facts)(facts.card, token_bytes=128 << 10, layers=32, vocabulary=150_000, pooling=False)
    large, small, tiny = (fit(heavy, Machine(gigabytes << 30, 8)) for gigabytes in (64, 4, 1))
    assert (large.num_ctx, large.slots, large.threads) == (8192, 8, 8)
    assert (small.num_ctx, small.slots) == (8192, 1)
    assert (tiny.num_ctx, tiny.slots) == (2048, 1)
    assert large.memory > 8 * 8192 * (128 << 10) > small.memory > tiny.memory
    asked = fit(heavy, Machine(1 << 30, 8), num_ctx=4096, slots=3, threads=2)
    assert (asked.num_ctx, asked.slots, asked.threads) == (4096, 3, 2)


def test_what_ollama_shows_of_parameters_and_times() -> None:
    shown = 'stop                           "<|im_end|>"\nstop    "a \\" b"\ntemperature                    0.7\n'
    assert parameters(shown) == {"stop": ["<|im_end|>", 'a " b'], "temperature": 0.7}
    assert seconds("2026-01-02T03:04:05.123456789+00:00") == pytest.approx(1767323045.123456)
    assert seconds("0001-01-01T00:00:00Z") == 0.0
    assert seconds(None) == 0.0


@pytest.mark.parametrize("space", ["", " "])
def test_one_time_of_creation(space: str) -> None:
    time = OneTime()
    chunks = [f'{{"a":"\\"created\\":5","created":{space}{1795515751 + n},"b":1}}'.encode() for n in range(3)]
    assert [time.into(chunk) for chunk in chunks] == [chunks[0]] * 3
    assert time.into(b'{"choices":[]}') == b'{"choices":[]}'
    assert time.into(b'{"created":12}') == b'{"created":12}'
