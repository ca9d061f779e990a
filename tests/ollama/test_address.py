from __future__ import annotations

import pytest

from conch_ollama.addresses import is_loopback
from conch_ollama.errors import UsageError
from conch_ollama.ollama.address import resolve_host


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        ("1.2.3.4:5678", "http://1.2.3.4:5678"),
        (":5678", "http://127.0.0.1:5678"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://example.com", "https://example.com:443"),
        ("https://example.com:1234", "https://example.com:1234"),
        ("example.com", "http://example.com:11434"),
        ("example.com/ollama/", "http://example.com:11434/ollama"),
        ("https://example.com/a/b", "https://example.com:443/a/b"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:5678", "http://127.0.0.1:5678"),
        ("http://0.0.0.0:5678/", "http://127.0.0.1:5678"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:5678", "http://[::1]:5678"),
        ("[::]:5678", "http://[::1]:5678"),
        ('  "1.2.3.4:5678"  ', "http://1.2.3.4:5678"),
        ("ollama.com", "https://ollama.com:443"),
    ],
)
def test_hosts(text: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_host(text) == url
    assert resolve_host(url) == url
    monkeypatch.setenv("OLLAMA_HOST", text)
    assert resolve_host() == url


def test_the_ollama_package_understands_the_url() -> None:
    from ollama import Client

    for url in (resolve_host("[::1]:5678"), resolve_host("https://example.com/a/b")):
        assert str(Client(host=url)._client.base_url).rstrip("/") == url.replace(":443", "")


def test_no_variable_means_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    assert resolve_host() == "http://127.0.0.1:11434"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("127.0.0.1:port", "'port'", marks=pytest.mark.bad_input("Ollama host: a port in letters")),
        pytest.param("127.0.0.1:65536", "'65536'", marks=pytest.mark.bad_input("Ollama host: a port too high")),
        pytest.param("tcp://127.0.0.1", "tcp", marks=pytest.mark.bad_input("Ollama host: another scheme")),
        pytest.param("my host", "'my host'", marks=pytest.mark.bad_input("Ollama host: a space in it")),
    ],
)
def test_what_is_no_host(text: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_host(text)
    assert caught.value.code == "usage"
    assert named in caught.value.message


def test_loopback() -> None:
    assert all(map(is_loopback, ["http://127.0.0.2:1", "http://[::1]:1", "http://localhost:1"]))
    assert not any(map(is_loopback, ["http://10.0.0.1:1", "https://ollama.com:443"]))
