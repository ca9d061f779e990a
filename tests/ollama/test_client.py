from __future__ import annotations

from pathlib import Path

import pytest

from conch_ollama.errors import NotFoundError, OllamaRefusedError, OllamaUnreachableError, UsageError
from conch_ollama.ollama.client import OllamaClient, chat, exists, list_models, model_info
from tests.ollama.stub_server import StubHandler, stub_server
from tests.parts.ollama import OllamaServer
from tests.parts.ports import free_port

HI = [{"role": "user", "content": "Hi"}]


def test_version_and_host_of_a_real_server(ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", ollama_server.host.removeprefix("http://"))
    with OllamaClient() as client:
        assert client.host == ollama_server.host
        assert client.version() == ollama_server.version


def test_a_proxy_in_the_environment_does_not_catch_loopback(
    ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with OllamaClient(ollama_server.host) as client:
        assert client.version() == ollama_server.version
        assert isinstance(client.list_models(), list)


@pytest.mark.bad_input("Ollama: no such model")
def test_a_model_that_is_not_there(ollama_server: OllamaServer) -> None:
    assert not exists("no-such-conch", ollama_server.host)
    with pytest.raises(NotFoundError) as caught:
        model_info("no-such-conch", ollama_server.host)
    assert caught.value.code == "not-found"
    assert "no-such-conch" in caught.value.message
    with pytest.raises(OllamaRefusedError) as refused:
        list(chat(ollama_server.host, "no-such-conch", HI))
    assert refused.value.code == "ollama-refused"
    assert "no-such-conch" in refused.value.message
    assert "404" in refused.value.message


@pytest.mark.parametrize(
    "ask", [list_models, lambda host: list(chat(host, "a", HI)), lambda host: model_info("a", host)]
)
@pytest.mark.bad_input("Ollama: not running")
def test_no_server(ask: object) -> None:
    host = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(OllamaUnreachableError) as caught:
        ask(host)  # type: ignore[operator]
    assert caught.value.code == "ollama-unreachable"
    assert host in caught.value.message
    assert "ollama serve" in str(caught.value.hint)


@pytest.mark.bad_input("Ollama: a remote host that is not known")
def test_no_such_remote_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OllamaUnreachableError) as caught, OllamaClient("nowhere.invalid") as client:
        client.version()
    assert caught.value.code == "ollama-unreachable"
    assert "http://nowhere.invalid:11434" in caught.value.message
    assert "firewall" in str(caught.value.hint)


@pytest.mark.parametrize(
    "behaviour",
    [
        lambda h: h.answer(200, b"<html>It works!</html>", content_type="text/html"),
        lambda h: h.answer(200, {"hello": "world"}),
        lambda h: h.answer(200, ["0.9.3"]),
    ],
)
@pytest.mark.bad_input("Ollama: something else answers on its port")
def test_another_server(behaviour: object) -> None:
    with stub_server({"GET /api/version": behaviour}) as stub, pytest.raises(OllamaRefusedError) as caught:  # type: ignore[dict-item]
        OllamaClient(stub.host).version()
    assert caught.value.code == "ollama-refused"
    assert f"what answers at {stub.host} is not Ollama" in caught.value.message


@pytest.mark.bad_input("Ollama: the address redirects")
def test_a_redirect_is_no_success() -> None:
    def elsewhere(handler: StubHandler) -> None:
        handler.send_response(301)
        handler.send_header("Location", "https://ollama.example/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with stub_server({"GET /api/version": elsewhere}) as stub, pytest.raises(OllamaRefusedError) as caught:
        OllamaClient(stub.host).version()
    assert caught.value.code == "ollama-refused"
    assert stub.host in caught.value.message
    assert "https://ollama.example/" in str(caught.value.hint)


@pytest.mark.bad_input("Ollama: a gateway in front has no server")
def test_a_gateway_without_a_server() -> None:
    def gateway(handler: StubHandler) -> None:
        handler.answer(502, b"<h1>Bad Gateway</h1>", content_type="text/html")

    with stub_server({"GET /api/version": gateway}) as stub, pytest.raises(OllamaRefusedError) as caught:
        OllamaClient(stub.host).version()
    assert caught.value.code == "ollama-refused"
    assert "<h1>Bad Gateway</h1> (HTTP 502)" in caught.value.message
    assert "proxy" in str(caught.value.hint)


@pytest.mark.bad_input("Ollama: a gateway in front wants credentials")
def test_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str | None] = []

    def wants_key(handler: StubHandler) -> None:
        sent.append(handler.headers.get("Authorization"))
        handler.answer(401, {"error": "unauthorized"})

    with stub_server({"GET /api/version": wants_key}) as stub:
        monkeypatch.setenv("OLLAMA_API_KEY", "key-of-the-shop")
        with pytest.raises(OllamaRefusedError) as caught:
            OllamaClient(stub.host).version()
    assert caught.value.code == "ollama-refused"
    assert "unauthorized (HTTP 401)" in caught.value.message
    assert "credentials" in str(caught.value.hint)
    assert sent == ["Bearer key-of-the-shop"]


@pytest.mark.bad_input("Ollama: hangs up in the middle of an answer")
def test_an_answer_that_is_cut() -> None:
    def cut(handler: StubHandler) -> None:
        handler.body()
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"message": {"role": "assistant", "content": "I am the"}}\n')
        handler.wfile.flush()
        handler.hang_up()

    pieces: list[str] = []
    with stub_server({"POST /api/chat": cut}) as stub, pytest.raises(OllamaUnreachableError) as caught:
        pieces.extend(chat(stub.host, "conch", HI))
    assert pieces == ["I am the"]
    assert caught.value.code == "ollama-unreachable"
    assert "in the middle of chat with conch" in caught.value.message


@pytest.mark.bad_input("Ollama: an error in the middle of an answer")
def test_an_error_within_a_stream() -> None:
    def fails(handler: StubHandler) -> None:
        handler.body()
        handler.answer(200, b'{"status": "reading"}\n{"error": "the runner died"}\n')

    with stub_server({"POST /api/create": fails}) as stub:
        for extra in ({}, {"renderer": "qwen3"}):
            with pytest.raises(OllamaRefusedError) as caught:
                list(OllamaClient(stub.host).create("conch", files={}, **extra))
            assert caught.value.code == "ollama-refused"
            assert "refused create conch: the runner died" in caught.value.message


def test_engine_settings_are_sent_to_servers_that_know_them() -> None:
    bodies: list[bytes] = []

    def created(handler: StubHandler) -> None:
        bodies.append(handler.body())
        handler.answer(200, b'{"status": "success"}\n')

    with stub_server({"POST /api/create": created}) as stub:
        assert list(OllamaClient(stub.host).create("conch", files={"a": "sha256:b"}, renderer="qwen3")) == ["success"]
    assert b'"renderer":"qwen3"' in bodies[0].replace(b" ", b"")


def test_bad_hosts_are_told_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        OllamaClient("tcp://x")
