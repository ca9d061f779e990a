"""What real clients send beside the dialects' plain requests: HEAD, forms, a slash at the end, headers of their own."""

from __future__ import annotations

from typing import Any

import pytest

from conch_ollama.server.settings import ModelSettings, Settings
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim

Made = tuple[RunningShim, MadeRuntime]


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/v1/models", "/api/tags", "/api/version"])
def test_head_is_get_without_its_body(made: Made, path: str) -> None:
    running, _ = made
    answer = running.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(running.client.get(path).content)


def test_models_with_a_slash_are_the_list(made: Made) -> None:
    running, _ = made
    assert running.client.get("/v1/models/").json() == running.client.get("/v1/models").json()


def test_models_tell_the_context_that_they_are_served_with(real: RunningShim) -> None:
    assert real.client.get("/v1/models/smol").json()["max_model_len"] == 1024


@pytest.mark.parametrize(
    "sent",
    [
        {"params": {"prompt": "你好 & #1", "max_tokens": "7", "system": "brief"}},
        {"data": {"prompt": "你好 & #1", "max_tokens": "7", "system": "brief"}},
        {"params": {"max_tokens": "7", "system": "brief"}, "json": {"prompt": "你好 & #1"}},
        {
            "params": {"max_tokens": "9"},
            "content": '{"prompt": "你好 & #1", "max_tokens": 7, "system": "brief"}',
            "headers": {"content-type": "application/x-www-form-urlencoded"},  # what curl says of any -d
        },
    ],
    ids=["address", "form", "both", "json that is called a form"],
)
def test_generate_by_post(made: Made, sent: dict[str, Any]) -> None:
    running, runtime = made
    answer = running.client.post("/generate", **sent)
    assert answer.json()["generated_text"] == "Hello you"
    body = runtime.asked[-1][1]
    assert [message["content"] for message in body["messages"]] == ["brief", "你好 & #1"]
    assert body["max_tokens"] == 7


@pytest.mark.parametrize(
    ("field", "text", "meant"),
    [
        ("max_tokens", "5", 5),
        ("max_tokens", "+5", 5),
        ("max_tokens", "5.0", 5),
        ("max_tokens", "", None),
        ("think", "on", True),  # what a checkbox says
        ("think", "TRUE", True),
        ("think", "0", False),
        ("think", "no", False),
        ("think", "", False),
    ],
)
def test_an_address_and_a_form_are_read_alike(
    made: Made, monkeypatch: pytest.MonkeyPatch, field: str, text: str, meant: object
) -> None:
    running, runtime = made
    monkeypatch.setattr(runtime, "words", ["<think>hm</think>", "Hello"])
    fields = {"prompt": "x", field: text}
    for method, sent in (("GET", {"params": fields}), ("POST", {"params": fields}), ("POST", {"data": fields})):
        answer = running.client.request(method, "/generate", **sent)
        assert answer.status_code == 200, answer.text
        thought = "think" in answer.json()["generated_text"]
        assert (thought if field == "think" else runtime.asked[-1][1].get("max_tokens")) == meant


@pytest.mark.bad_input("a form or an address whose fields are wrong")
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": "x", "max_tokens": "-1"}, "max_tokens"),
        ({"prompt": "x", "max_tokens": "9" * 5000}, "max_tokens"),
        ({"prompt": "x", "think": "perhaps"}, "think"),
        ({"promt": "x"}, "prompt"),
        ({"prompt": "", "system": "s"}, "prompt"),
    ],
    ids=["negative", "endless", "undecided", "misspelt", "empty"],
)
def test_texts_with_wrong_fields(made: Made, fields: dict[str, str], param: str) -> None:
    running, runtime = made
    before = len(runtime.asked)
    for method, sent in (("GET", {"params": fields}), ("POST", {"params": fields}), ("POST", {"data": fields})):
        answer = running.client.request(method, "/generate", **sent)
        assert answer.status_code == 400
        assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("invalid_value", param)
    assert len(runtime.asked) == before


@pytest.mark.bad_input("the field of a request that is of none of its kinds")
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"stop": [1]}, "stop.0"),
    ],
)
def test_the_fault_is_named_by_the_clients_own_path(made: Made, change: dict[str, Any], param: str) -> None:
    running, _ = made
    body = {"model": "made", "messages": [{"role": "user", "content": "hi"}]} | change
    answer = running.client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_desktop_programs_may_send_their_headers(made: Made) -> None:
    running, _ = made
    asked = "authorization,http-referer,x-title,x-stainless-lang,cookie"
    headers = {"origin": "http://localhost:3210", "access-control-request-headers": asked}
    answer = running.client.options("/v1/chat/completions", headers=headers)
    assert answer.headers["access-control-allow-headers"] == "authorization, http-referer, x-title, x-stainless-lang"


def test_anthropics_clients_read_their_own_errors(made: Made) -> None:
    running, _ = made
    body = {"model": "nope", "max_tokens": 3, "messages": [{"role": "user", "content": "hi"}]}
    error = running.client.post("/v1/messages", json=body).json()
    assert (error["type"], error["error"]["code"]) == ("error", "model_not_found")


def test_the_tokens_of_all_answers_are_counted(real: RunningShim) -> None:
    asked = {"model": "smol", "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 3, "n": 2}
    found = real.client.post("/v1/chat/completions", json=asked | {"temperature": 0}).json()
    assert [choice["finish_reason"] for choice in found["choices"]] == ["length", "length"]
    assert found["usage"]["completion_tokens"] == 6
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] + 6


@pytest.mark.bad_input("tools for a model whose template has no place for them")
def test_tools_are_not_left_out_without_a_word(real: RunningShim) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    asked = {"model": "smol", "messages": [{"role": "user", "content": "hi"}], "tools": [tool], "max_tokens": 2}
    by_openai = real.client.post("/v1/chat/completions", json=asked | {"tool_choice": "required"})
    by_ollama = real.client.post("/api/chat", json=asked)
    by_anthropic = real.client.post("/v1/messages", json=asked)
    for answer in (by_openai, by_ollama, by_anthropic):
        assert answer.status_code == 400
        assert "smol does not support tools" in answer.text
    assert real.client.post("/v1/chat/completions", json=asked | {"tool_choice": "none"}).status_code == 200


@pytest.mark.bad_input("a picture for a model that reads text only, in each dialect")
@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/v1/chat/completions", {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}),
        ("/v1/messages", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}),
        ("/v1/responses", {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}),
    ],
)
def test_pictures_are_the_requests_fault(real: RunningShim, path: str, part: dict[str, Any]) -> None:
    messages = "input" if path == "/v1/responses" else "messages"
    body = {"model": "smol", "max_tokens": 3, messages: [{"role": "user", "content": [part]}]}
    answer = real.client.post(path, json=body)
    assert answer.status_code == 400
    assert f"takes text only, not {part['type']}" in answer.json()["error"]["message"]


def test_what_was_read_before_counts_as_tokens_of_the_prompt(real: RunningShim) -> None:
    def read() -> float:
        lines = real.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("conch_tokens_in_total"))

    asked = {"model": "smol", "max_tokens": 2, "messages": [{"role": "user", "content": "Say hi."}]}
    usage = real.client.post("/v1/chat/completions", json=asked).json()["usage"]
    before = read()
    answer = real.client.post("/v1/messages", json=asked).json()
    assert answer["usage"]["input_tokens"] < usage["prompt_tokens"], "nothing was read before"
    assert read() - before == usage["prompt_tokens"]


def test_what_a_url_can_do_is_what_the_configuration_says() -> None:
    """OpenAI's dialect does not tell it; a client of Ollama's asks for it before it lets a model think."""
    runtime = MadeRuntime("theirs")
    models = {"thinks": ModelSettings("made", "theirs", capabilities=frozenset({"thinking"}))}
    models["plain"] = ModelSettings("made", "theirs")
    with RunningShim({"made": runtime}, Settings(models=models)) as running:

        def ask(name: str) -> int:
            body = {"model": name, "messages": [{"role": "user", "content": "hi"}], "think": True, "stream": False}
            return running.client.post("/api/chat", json=body).status_code

        assert (ask("thinks"), ask("plain")) == (200, 400)
        assert "thinking" in running.client.post("/api/show", json={"model": "thinks"}).json()["capabilities"]
