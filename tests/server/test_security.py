"""Every rule of who may come in, broken on purpose: nothing gets through, nothing takes the shim down."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from conch_ollama.errors import NotFoundError, RuntimeFailedError, UsageError
from conch_ollama.server.credentials import client_address
from conch_ollama.server.keys import KeyFile
from conch_ollama.server.listen import check_exposure
from conch_ollama.server.settings import ModelSettings, Security, Settings, TokenSettings
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim, with_limits, with_security

MESSAGES = [{"role": "user", "content": "hi"}]
SECRET = "0123456789abcdef0123456789abcdef"
LOOPBACK = (ip_network("127.0.0.0/8"),)


def chat(running: RunningShim, key: str | None = None, model: str = "made", **headers: str):
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    return running.client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES}, headers=headers)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningShim, dict[str, str], KeyFile]]:
    """A shim with keys and JWTs, two models, one of them not for this network."""
    folder = tmp_path_factory.mktemp("keys")
    file = KeyFile(folder / "keys.json")
    keys = {
        "all": file.add("all"),
        "sales": file.add("sales", models=["sales-*"]),
        "slow": file.add("slow", rate=2),
        "elsewhere": file.add("elsewhere", networks=["10.9.0.0/16"]),
        "gone": file.add("gone"),
    }
    file.revoke("gone")
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    jwks = [
        {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key())), "kid": "r"},
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec_key.public_key())), "kid": "e"},
    ]
    (folder / "jwks.json").write_text(json.dumps({"keys": jwks}), encoding="utf-8")
    keys["rsa"], keys["ec"] = (key.private_bytes(*_PEM).decode() for key in (rsa_key, ec_key))
    keys["rsa_public"] = (
        rsa_key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    tokens = TokenSettings(("HS256", "RS256", "ES256"), "conch", "us", SECRET, str(folder / "jwks.json"), models=())
    models = {
        "made": ModelSettings("made"),
        "sales-1": ModelSettings("made", "made"),
        "far": ModelSettings("made", "made", networks=(ip_network("10.0.0.0/8"),)),
    }
    settings = Settings(models=models, security=Security(keys=file.path, tokens=tokens))
    with RunningShim({"made": MadeRuntime()}, settings) as running:
        yield running, keys, file


_PEM = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def token(claims: dict | None = None, *, key: str = SECRET, algorithm: str | None = "HS256", **header: str) -> str:
    found = {"sub": "ann", "aud": "conch", "iss": "us", "exp": time.time() + 60, "models": ["made"]}
    found |= claims or {}
    return jwt.encode({k: v for k, v in found.items() if v is not None}, key, algorithm, headers=header or None)


def test_without_keys_any_bearer_is_accepted(made) -> None:
    running, _ = made
    assert chat(running, "sk-whatever").status_code == 200
    assert chat(running).status_code == 200


@pytest.mark.bad_input("listening for others without asking who they are")
def test_strangers_are_not_served_by_mistake() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(UsageError, match="can be reached by others") as caught:
            check_exposure(Settings(host=host))
        assert caught.value.code == "usage"
    for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3"):
        check_exposure(Settings(host=host))
    check_exposure(Settings(host="0.0.0.0", security=Security(insecure=True)))
    check_exposure(Settings(host="0.0.0.0", security=Security(keys=Path("keys"))))


@pytest.mark.bad_input("a key that is missing, unknown, revoked, of another place")
def test_keys(keyed) -> None:
    running, keys, _ = keyed
    assert chat(running, keys["all"]).status_code == 200
    for key in (None, "nix", keys["gone"], keys["all"][:-1] + "x", keys["all"][:18] + keys["sales"][18:]):
        answer = chat(running, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key"), key
        assert answer.headers["www-authenticate"] == "Bearer"
    assert chat(running, keys["elsewhere"]).status_code == 403
    assert running.client.get("/v1/models", headers={"x-api-key": keys["all"]}).status_code == 200
    assert running.client.get("/api/tags").json().keys() == {"error"}
    assert running.client.get("/health").status_code == 200
    assert running.client.get("/metrics").status_code == 401


@pytest.mark.bad_input("a model that the key may not see")
def test_models_by_key_and_by_network(keyed) -> None:
    running, keys, _ = keyed
    headers = {"authorization": f"Bearer {keys['sales']}"}
    assert [m["id"] for m in running.client.get("/v1/models", headers=headers).json()["data"]] == ["sales-1"]
    assert [m["name"] for m in running.client.get("/api/tags", headers=headers).json()["models"]] == ["sales-1:latest"]
    assert chat(running, keys["sales"], "sales-1").status_code == 200
    nameless = running.client.post("/v1/chat/completions", json={"messages": MESSAGES}, headers=headers)
    assert nameless.json()["model"] == "sales-1", "the only one that it may use"
    hidden = chat(running, keys["sales"], "made")
    unknown = chat(running, keys["sales"], "nix!")
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.text.replace("made", "nix!") == unknown.text
    assert chat(running, keys["all"], "far").status_code == 404
    show = running.client.post("/api/show", json={"model": "made"}, headers=headers)
    assert show.status_code == 404
    assert (
        running.client.post("/api/generate", json={"model": "made", "keep_alive": 0}, headers=headers).status_code
        == 404
    )
    assert running.client.get("/metrics", headers=headers).status_code == 403


def test_a_key_revoked_while_serving(keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conch_ollama.server.keys._LOOK_S", 0.0)
    running, keys, file = keyed
    key = file.add("short")
    assert chat(running, key).status_code == 200
    file.revoke("short")
    assert chat(running, key).status_code == 401
    good = file.path.read_bytes()
    file.path.write_bytes(good[:-20])
    assert chat(running, keys["all"]).status_code == 200, "a file that went bad leaves the last good keys"
    assert chat(running, key).status_code == 401
    file.path.write_bytes(good)


def test_what_a_failed_runtime_says_is_for_the_log(keyed, made) -> None:
    async def script(model: str, body: object):
        raise RuntimeFailedError("the worker of /home/ann/secret.gguf died")
        yield

    open_shim, runtime = made
    running, keys, _ = keyed
    strict = running.shim.registry.runtimes["made"]
    runtime.script = strict.script = script
    try:
        assert "secret.gguf" in chat(open_shim).text
        answer = chat(running, keys["all"])
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "runtime_failed")
        assert "secret.gguf" not in answer.text
    finally:
        runtime.script = strict.script = None


@pytest.mark.bad_input("a file of keys that is not there")
def test_no_file_of_keys(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"keys\.json") as caught:
        RunningShim({"made": MadeRuntime()}, with_security(keys=tmp_path / "keys.json")).__enter__()
    assert caught.value.code == "not-found"


@pytest.mark.bad_input("a rebound name in a trusted network")
def test_a_trusted_network_is_no_credential_for_a_strangers_page() -> None:
    settings = with_security(networks=LOOPBACK, hosts=())
    with RunningShim({"made": MadeRuntime()}, settings) as running:
        assert chat(running).status_code == 200
        assert chat(running, host="10.0.0.7:8000").status_code == 200
        assert chat(running, host="evil.example").status_code == 421
        assert chat(running, host="evil.example", origin="http://evil.example").status_code == 403


@pytest.mark.bad_input("more requests a minute than the key may send")
def test_rates(keyed) -> None:
    running, keys, _ = keyed
    found = [chat(running, keys["slow"]).status_code for _ in range(3)]
    assert found == [200, 200, 429]
    answer = chat(running, keys["slow"])
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert chat(running, keys["all"]).status_code == 200


def test_no_secret_is_stored(keyed) -> None:
    _, keys, file = keyed
    text = file.path.read_text(encoding="utf-8")
    assert not any(key[19:] in text for name, key in keys.items() if key.startswith("conch_"))
    assert file.path.stat().st_mode & 0o077 == 0


def test_good_tokens(keyed) -> None:
    running, keys, _ = keyed
    assert chat(running, token()).status_code == 200
    assert chat(running, token(key=keys["rsa"], algorithm="RS256", kid="r")).status_code == 200
    assert chat(running, token(key=keys["ec"], algorithm="ES256", kid="e")).status_code == 200
    assert chat(running, token({"models": "x made"})).status_code == 200
    assert chat(running, token({"models": ["sales-*"]})).status_code == 404
    assert chat(running, token({"models": None})).status_code == 404  # its default here is: none


@pytest.mark.bad_input("a token that is expired, of another audience, unsigned, forged")
def test_bad_tokens(keyed) -> None:
    running, keys, _ = keyed
    unsigned = token(key="", algorithm=None)
    head, body, _ = token().split(".")
    # The public key as a secret of HS256: the classic confusion. PyJWT itself refuses to sign so, so by hand.
    import base64
    import hmac

    confused = (
        f"{base64.urlsafe_b64encode(json.dumps({'alg': 'HS256', 'kid': 'r'}).encode()).rstrip(b'=').decode()}.{body}"
    )
    signature = hmac.digest(keys["rsa_public"].encode(), confused.encode(), "sha256")
    bad = {
        "expired": token({"exp": time.time() - 60}),
        "without exp": token({"exp": None}),
        "other audience": token({"aud": "payroll"}),
        "without audience": token({"aud": None}),
        "other issuer": token({"iss": "them"}),
        "not yet": token({"nbf": time.time() + 600}),
        "none": unsigned,
        "None": f"{unsigned.split('.')[0]}.{body}.",
        "other secret": token(key="x" * 32),
        "no signature": f"{head}.{body}.",
        "HS512": token(algorithm="HS512", key=SECRET * 2),
        "wrong kind": token(key=keys["ec"], algorithm="ES256", kid="r"),
        "unknown kid": token(key=keys["rsa"], algorithm="RS256", kid="zz"),
        "confused": f"{confused}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}",
        "claims": token({"models": {"made": True}}),
        "rubbish": "a.b.c",
        "binary": "\xff.\xfe.\xfd",
    }
    for name, text in bad.items():
        answer = running.client.post(
            "/v1/chat/completions",
            json={"model": "made", "messages": MESSAGES},
            headers=[(b"authorization", b"Bearer " + text.encode("latin-1"))],
        )
        assert answer.status_code == 401, name
        assert SECRET not in answer.text


@pytest.mark.bad_input("JWT settings that can't be safe")
def test_token_settings() -> None:
    for settings in (
        TokenSettings(("none",), "conch"),
        TokenSettings((), "conch"),
        TokenSettings(("HS256",), "conch", secret="short"),
        TokenSettings(("RS256",), "conch"),
        TokenSettings(("HS256",), "", secret=SECRET),
    ):
        with pytest.raises(UsageError):
            RunningShim({"made": MadeRuntime()}, with_security(tokens=settings)).__enter__()


@pytest.mark.bad_input("a spoofed X-Forwarded-For")
def test_forwarded_addresses_only_from_trusted_proxies() -> None:
    trusted = with_security(networks=(ip_network("10.0.0.0/8"),))
    with RunningShim({"made": MadeRuntime()}, trusted) as running:
        assert chat(running, **{"x-forwarded-for": "10.1.2.3"}).status_code == 401
    with RunningShim({"made": MadeRuntime()}, with_security(trusted, proxies=LOOPBACK)) as running:
        assert chat(running, **{"x-forwarded-for": "10.1.2.3"}).status_code == 200
        assert chat(running, "sk-any", **{"x-forwarded-for": "10.1.2.3"}).status_code == 200
        # The client wrote the first, the proxy the last.
        assert chat(running, **{"x-forwarded-for": "10.1.2.3, 8.8.8.8"}).status_code == 401
        assert chat(running, **{"x-forwarded-for": "rubbish"}).status_code == 401


def test_client_address() -> None:
    def found(peer: str, *forwarded: bytes) -> str:
        return str(client_address(peer, forwarded, (ip_network("127.0.0.0/8"), ip_network("172.16.0.0/12"))))

    assert found("1.2.3.4", b"9.9.9.9") == "1.2.3.4"
    assert found("127.0.0.1") == "127.0.0.1"
    assert found("::ffff:127.0.0.1", b"9.9.9.9, 172.16.0.1") == "9.9.9.9"
    assert found("127.0.0.1", b"8.8.8.8", b"9.9.9.9") == "9.9.9.9"
    assert found("127.0.0.1", b"[2001:db8::1]") == "2001:db8::1"
    assert found("127.0.0.1", b"[2001:db8::1]:443, 172.16.0.1:80") == "2001:db8::1"
    assert found("127.0.0.1", b"9.9.9.9:51234") == "9.9.9.9"
    assert found("127.0.0.1", b"9.9.9.9, unknown") == "None", "the proxy's own address is not the client's"


@pytest.mark.bad_input("a Host that is a rebound name")
def test_host(made) -> None:
    running, _ = made
    for host in ("localhost", "127.0.0.1:8000", "[::1]:1", "x.localhost"):
        assert running.client.get("/v1/models", headers={"host": host}).status_code == 200, host
    for host in (
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "evil.example@localhost",
        "[",
        "1.2.3.4",
    ):
        answer = running.client.get("/v1/models", headers={"host": host})
        assert (answer.status_code, answer.json()["error"]["code"]) == (421, "host_not_allowed"), host
    twice = running.raw(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", wait_s=1)
    assert twice.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
    with RunningShim({"made": MadeRuntime()}, with_security(hosts=("ai.example",))) as other:
        assert other.client.get("/v1/models", headers={"host": "AI.example:80"}).status_code == 200


@pytest.mark.bad_input("a foreign Origin")
def test_origin_and_cors(made) -> None:
    running, runtime = made
    before = len(runtime.asked)
    for origin in (
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "https://[",
        "http://127.0.0.1@evil.example",
    ):
        answer = chat(running, origin=origin)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed"), origin
        assert "access-control-allow-origin" not in answer.headers
    assert len(runtime.asked) == before
    for origin in ("http://localhost:3210", "http://127.0.0.1", "app://obsidian.md", "file://"):
        answer = chat(running, origin=origin)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["vary"] == "Origin"
    with RunningShim({"made": MadeRuntime()}, with_security(origins=("https://chat.example",))) as other:
        assert chat(other, origin="https://chat.example").status_code == 200
        assert chat(other, origin="https://chat.example.evil.example").status_code == 403


@pytest.mark.bad_input("a picture in a stranger's page that asks the model")
def test_requests_of_other_sites_without_an_origin(made) -> None:
    running, runtime = made
    before = len(runtime.asked)
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        answer = running.client.get("/generate", params={"prompt": "hi"}, headers={"sec-fetch-site": site})
        assert answer.status_code == status
    assert len(runtime.asked) == before + 2
    assert running.client.get("/health", headers={"sec-fetch-site": "cross-site"}).status_code == 200


def test_preflight_of_the_openai_sdk(made) -> None:
    running, _ = made
    asked = "authorization,content-type,x-stainless-arch,x-stainless-retry-count,x-evil,x-stainless-\u00e9".encode(
        "latin-1"
    )
    answer = running.client.options(
        "/v1/chat/completions",
        headers=[
            (b"origin", b"http://localhost:3210"),
            (b"access-control-request-method", b"POST"),
            (b"access-control-request-headers", asked),
            (b"access-control-request-private-network", b"true"),
        ],
    )
    assert answer.status_code == 204
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert allowed == ["authorization", "content-type", "x-stainless-arch", "x-stainless-retry-count"]
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3210"
    assert answer.headers["access-control-allow-private-network"] == "true"


def test_preflight_needs_no_key(keyed) -> None:
    running, _, _ = keyed
    headers = {"origin": "http://localhost:1", "access-control-request-method": "POST"}
    assert running.client.options("/v1/models", headers=headers).status_code == 204
    assert (
        running.client.options("/v1/models", headers={**headers, "origin": "https://evil.example"}).status_code == 403
    )


@pytest.mark.bad_input("line breaks in a header")
def test_header_injection(made) -> None:
    running, _ = made
    answer = running.raw(
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\rSet-Cookie: x=1\r\n\r\n", wait_s=1
    )
    assert b"Set-Cookie" not in answer
    for given in ("a b", "x" * 65, "<script>"):
        assert running.client.get("/health", headers={"x-request-id": given}).headers["x-request-id"] != given
    assert running.client.get("/health", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    body = {"model": "a\r\nSet-Cookie: x=1", "messages": MESSAGES}
    assert "set-cookie" not in running.client.post("/v1/chat/completions", json=body).headers


@pytest.mark.bad_input("a body that is too large")
def test_large_bodies() -> None:
    with RunningShim({"made": MadeRuntime()}, with_limits(body_bytes=2**20)) as running:
        block = b" " * 2**20
        for name, content in (("with its length", b" " * (6 * 2**20)), ("in chunks", (block for _ in range(6)))):
            answer = running.client.post("/v1/chat/completions", content=content)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large"), name
        assert running.client.post("/api/chat", content=block * 2).json().keys() == {"error"}
        assert chat(running).status_code == 200


@pytest.mark.bad_input("JSON nested deeply")
def test_nested_json(made) -> None:
    running, _ = made
    for text in ("[" * 100_000, '{"a":' * 65 + "1" + "}" * 65, '{"messages":' + "[" * 64 + "]" * 64 + "}"):
        answer = running.client.post("/v1/chat/completions", content=text)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "json_too_deep"), text[:20]
    brackets = {"model": "made", "messages": [{"role": "user", "content": '[{\\"' * 1000}]}
    assert running.client.post("/v1/chat/completions", json=brackets).status_code == 200


@pytest.mark.bad_input("what is no JSON, or holds what UTF-8 can't")
def test_bad_json(made) -> None:
    running, _ = made
    for content in (
        b"",
        b"{",
        b"[]",
        b"1",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"model": "\\ud800"}',
        b'{"a":"\xff"}',
        b'{"a":1' + b"0" * 5000 + b"}",
    ):
        for path in ("/v1/chat/completions", "/api/show", "/generate"):
            answer = running.client.post(path, content=content)
            assert answer.status_code == 400, (content, path)
            assert "error" in answer.json()


@pytest.mark.bad_input("a client that sends its body too slowly")
def test_slow_body() -> None:
    with RunningShim({"made": MadeRuntime()}, with_limits(body_s=0.2)) as running:
        answer = running.raw(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", wait_s=5
        )
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer.lower()
        assert chat(running).status_code == 200


@pytest.mark.bad_input("a client that sends its head too slowly")
def test_slow_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conch_ollama.server.protocol.HEAD_S", 0.2)
    with RunningShim({"made": MadeRuntime()}) as running:
        for start in (
            b"",
            b"GET /health HTTP/1.1\r\nHost: local",
        ):
            with socket.create_connection(("127.0.0.1", running.port), timeout=5) as connection:
                connection.sendall(start)
                while connection.recv(4096):
                    pass  # ends when the shim closes: within 5 s
        assert chat(running).status_code == 200


@pytest.mark.bad_input("a head of a megabyte")
def test_large_head(made) -> None:
    running, _ = made
    answer = running.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n", wait_s=2)
    assert not answer.startswith(b"HTTP/1.1 200")
    assert chat(running).status_code == 200


@pytest.mark.bad_input("bytes that are no HTTP")
def test_no_http(made) -> None:
    running, _ = made
    for data in (
        b"\x16\x03\x01\x02\x00",
        b"\0" * 100,
        b"GET /health\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ):
        assert not running.raw(data, wait_s=1).startswith(b"HTTP/1.1 200")
    assert chat(running).status_code == 200


@pytest.mark.bad_input("paths and methods that are none")
def test_unknown_paths(made) -> None:
    running, _ = made
    assert running.client.get("/v1/nix").json()["error"]["message"]
    assert running.client.get("/api/nix").json()["error"] == "There is no such path."
    assert running.client.get("/v1/chat/completions").status_code == 405
    assert running.client.get("/v1/models/../../health").status_code in {200, 404}
    assert running.client.get("/v1//models").status_code == 404
