"""Ollama's dialect on what no small model makes: calls, thoughts, pictures; and what becomes of its options."""

from __future__ import annotations

import json

import pytest

from conch_ollama.runtimes.protocol import ModelCard
from conch_ollama.server.dialects.logprobs import ollama_logprobs
from conch_ollama.server.dialects.ollama_answers import OllamaAnswer
from conch_ollama.server.dialects.ollama_cards import full_name, listed, running, shown
from conch_ollama.server.dialects.ollama_requests import chat_body, generate_body
from conch_ollama.server.errors import Refusal
from tests.server.test_openai_dialect import made, one

FIGURES = {"prompt_tokens": 3, "completion_tokens": 2, "first_s": 0.5, "total_s": 1.5}


def lines(*chunks: object, chat: bool = True, think: bool = True) -> list[dict]:
    answer = OllamaAnswer("m", 0, chat=chat, think=think)
    found = [line for chunk in chunks for line in answer.lines(chunk, 1.0)]
    return [*found, *answer.last(2.0, FIGURES)]


def test_pieces_thoughts_and_the_last_line() -> None:
    chunks = [
        made(one({"role": "assistant", "content": None})),
        made(one({"reasoning_content": "hm"})),
        made(one({"content": "x"})),
        made(one({}, "length")),
    ]
    thought, text, last = lines(*chunks)
    assert thought["message"] == {"role": "assistant", "content": "", "thinking": "hm"}
    assert text["message"] == {"role": "assistant", "content": "x"}
    assert text["created_at"] == "1970-01-01T00:00:01.000000Z"
    assert (last["done"], last["done_reason"], last["message"]["content"]) == (True, "length", "")
    assert (last["prompt_eval_count"], last["eval_count"], last["total_duration"]) == (3, 2, 1_500_000_000)
    assert [line["done"] for line in (thought, text)] == [False, False]
    assert "message" not in lines(*chunks, chat=False)[0]
    assert [line["response"] for line in lines(*chunks, chat=False, think=False)] == ["x", ""]


def test_calls_come_whole_and_before_the_last_line() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":'}}
    rest = {"index": 0, "function": {"arguments": "1}"}}
    found = lines(made(one({"tool_calls": [call]})), made(one({"tool_calls": [rest]})), made(one({}, "tool_calls")))
    assert [line["done"] for line in found] == [False, True]
    assert found[0]["message"]["tool_calls"] == [{"function": {"name": "f", "arguments": {"a": 1}}}]
    assert found[1]["done_reason"] == "stop"


def test_calls_of_an_answer_without_text_are_in_the_whole_one_too() -> None:
    answer = OllamaAnswer("m", 0, chat=True, think=True)
    call = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    assert list(answer.lines(made(one({"tool_calls": [call]}, "tool_calls")), 1.0)) == []
    assert answer.whole(2.0, FIGURES)["message"]["tool_calls"] == [{"function": {"name": "f", "arguments": {}}}]


def test_logarithms_with_the_text_that_they_are_of() -> None:
    near = [{"token": "a", "logprob": -0.5, "bytes": [97]}, {"token": "b", "logprob": -1.5, "bytes": None}]
    chat = [{"id": 7, "token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": near}]
    plain = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -1.5, "a": -0.5}], "text_offset": [0]}
    token = {"token": "a", "logprob": -0.5, "bytes": [97]}
    other = {"token": "b", "logprob": -1.5, "bytes": [98]}
    for shape in ({"content": chat}, plain):
        choice = {"logprobs": shape}
        assert ollama_logprobs(choice, 0) == [token]
        assert ollama_logprobs(choice, 1) == [{**token, "top_logprobs": [token]}]
        assert ollama_logprobs(choice, 2) == [{**token, "top_logprobs": [token, other]}]
    assert ollama_logprobs({"logprobs": None}, 2) == ollama_logprobs({}, 2) == []


def test_logarithms_of_what_is_no_text_come_with_the_next_line() -> None:
    answer = OllamaAnswer("m", 0, chat=True, think=True, top_logprobs=0)
    seen = {"logprobs": {"content": [{"token": "x", "logprob": -1.0}]}}
    assert list(answer.lines(made([{**one({})[0], **seen}]), 1.0)) == []
    (line,) = answer.lines(made([{**one({"content": "x"})[0], **seen}]), 1.0)
    assert len(line["logprobs"]) == 2
    assert list(answer.lines(made([{**one({}, "stop")[0], **seen}]), 1.0)) == []
    (last,) = answer.last(2.0, FIGURES)
    assert (last["done"], len(last["logprobs"])) == (True, 1)


def test_a_call_that_is_no_json_does_not_break_the_stream() -> None:
    call = {"index": 0, "function": {"name": "f", "arguments": "not json"}}
    assert lines(made(one({"tool_calls": [call]})))[0]["message"]["tool_calls"][0]["function"]["arguments"] == {
        "arguments": "not json"
    }


def test_options_formats_and_thinking() -> None:
    schema = {"type": "object"}
    body = chat_body(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "hi"}],
            "options": {"temperature": 0.5, "num_predict": 9, "num_ctx": 99, "top_k": 3, "stop": ["x"], "seed": None},
            "format": schema,
            "think": False,
            "keep_alive": "5m",
        }
    )
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["x"],
        "options": {"num_ctx": 99, "top_k": 3},
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        "think": False,
        "keep_alive": "5m",
    }
    endless = chat_body({"model": "m", "messages": [], "options": {"num_predict": -1}, "format": "json"})
    assert "max_tokens" not in endless
    assert endless["response_format"] == {"type": "json_object"}


def test_calls_and_their_answers_get_the_ids_that_openai_wants() -> None:
    def call(name: str, **arguments: object) -> dict:
        return {"function": {"name": name, "arguments": arguments}}

    body = chat_body(
        {
            "model": "m",
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "", "tool_calls": [call("f", a="ü"), call("g")], "thinking": "hm"},
                {"role": "tool", "content": "2", "tool_name": "g"},
                {"role": "tool", "content": "1"},
            ],
        }
    )
    _, assistant, second, first = body["messages"]
    assert [c["id"] for c in assistant["tool_calls"]] == ["call_0", "call_1"]
    assert assistant["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": "ü"}'}
    assert assistant["reasoning_content"] == "hm"
    assert (second["tool_call_id"], second["name"], first["tool_call_id"]) == ("call_1", "g", "call_0")


def test_pictures() -> None:
    body = chat_body({"model": "m", "messages": [{"role": "user", "content": "?", "images": ["iVBORw0KGgo="]}]})
    text, picture = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "?"}
    assert picture["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.bad_input("Ollama requests that can't be done")
@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        (
            {"raw": True, "template": "{{ .Prompt }}", "context": [1]},
            400,
            "raw mode does not support context or template",
        ),
        ({"raw": True, "suffix": "x"}, 400, "raw mode does not support suffix"),
        ({"suffix": "x", "system": "y"}, 400, "suffix does not go with system"),
        ({"images": ["iVBORw0KGgo="], "context": [1]}, 400, "images do not go"),
        ({"images": ["%%%"]}, 400, "base64"),
    ],
)
def test_what_cannot_be_generated(change: dict, status: int, word: str) -> None:
    with pytest.raises(Refusal, match=word) as caught:
        generate_body({"model": "m", "prompt": "x"} | change)
    assert caught.value.status == status


def test_generate_is_a_chat_unless_raw() -> None:
    kind, body = generate_body({"model": "m", "prompt": "x", "system": "s"})
    assert (kind, [m["role"] for m in body["messages"]]) == ("chat", ["system", "user"])
    assert generate_body({"model": "m", "prompt": "x", "raw": True}) == ("complete", {"model": "m", "prompt": "x"})


def test_cards_hold_what_the_ollama_program_panics_without() -> None:
    bare = ModelCard("a/b")
    assert len(listed("b", bare)["digest"]) == 64
    info = shown("b", bare, go_template=False)["model_info"]
    assert info["general.architecture"] == "unknown"
    assert isinstance(info["general.parameter_count"], int)
    assert {"unknown.context_length", "unknown.embedding_length"} <= info.keys()
    assert running("b", bare, 0)["expires_at"].startswith("2318-")
    assert running("b", ModelCard("x", options={"num_ctx": 5}), 60)["context_length"] == 5
    assert [full_name(n) for n in ("a", "a:b", "h:1/a", "h:1/a:b")] == ["a:latest", "a:b", "h:1/a:latest", "h:1/a:b"]


def test_show_tells_a_go_template_from_a_jinja_one() -> None:
    card = ModelCard("x", template="{% jinja %}", system="s", options={"stop": ["a", "b"], "temperature": 0.5})
    jinja = shown("x", card, go_template=False)
    assert (jinja["template"], jinja["model_info"]["tokenizer.chat_template"]) == ("", "{% jinja %}")
    assert [line.split()[0] for line in jinja["parameters"].splitlines()] == ["stop", "stop", "temperature"]
    assert "SYSTEM s" in jinja["modelfile"] or "SYSTEM" in jinja["modelfile"]
    go = shown("x", ModelCard("x", template="{{ .Prompt }}"), go_template=True)
    assert go["template"] == "{{ .Prompt }}"
    assert "{{ .Prompt }}" in go["modelfile"]
    assert json.dumps(go)
