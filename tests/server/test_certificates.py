"""TLS by a certificate, and public keys from a JWKS URL."""

from __future__ import annotations

import dataclasses
import datetime
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conch_ollama.errors import UsageError
from conch_ollama.server.listen import check_exposure
from conch_ollama.server.settings import Security, Settings, TokenSettings
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim, with_security


def test_tls(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "conch")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    settings = with_security(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    with RunningShim({"made": MadeRuntime()}, settings) as running:
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with httpx.Client(base_url=f"https://127.0.0.1:{running.port}", verify=trust, trust_env=False) as client:
            body = {"model": "made", "messages": [{"role": "user", "content": "hi"}], "stream": True}
            assert client.post("/v1/chat/completions", json=body).text.endswith("[DONE]\n\n")
        assert not running.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", wait_s=1).startswith(b"HTTP/1.1 200")


@pytest.mark.bad_input("a certificate without its key")
def test_tls_by_halves(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="certificate and its key"):
        check_exposure(Settings(security=Security(tls_cert=tmp_path / "cert.pem")))


class JWKS:
    """Serves public keys; counts how often it is asked. `fail`: answers 500."""

    def __init__(self) -> None:
        self.keys: list[dict] = []
        self.asked = 0
        self.fail = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                self.send_response(500 if outer.fail else 200)
                self.end_headers()
                self.wfile.write(json.dumps({"keys": outer.keys}).encode())

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def new_key(self, key_id: str) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        self.keys.append({**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": key_id})
        return key


@pytest.fixture
def jwks() -> Iterator[JWKS]:
    made = JWKS()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.bad_input("an identity provider that is down")
def test_keys_from_a_url(jwks: JWKS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conch_ollama.server.jwt._AGAIN_S", 0.0)
    first = jwks.new_key("a")
    settings = Settings(security=Security(tokens=TokenSettings(("ES256",), "conch", jwks=jwks.url)))
    with RunningShim({"made": MadeRuntime()}, settings) as running:

        def status(key: ec.EllipticCurvePrivateKey, key_id: str) -> int:
            claims = {"aud": "conch", "exp": time.time() + 60}
            token = jwt.encode(claims, key, "ES256", headers={"kid": key_id})
            return running.client.get("/v1/models", headers={"authorization": f"Bearer {token}"}).status_code

        assert [status(first, "a"), status(first, "a")] == [200, 200]
        assert jwks.asked == 1, "the keys are kept"
        second = jwks.new_key("b")
        assert status(second, "b") == 200
        assert jwks.asked == 2, "a new key is looked for"
        jwks.fail = True
        assert status(second, "c") == 401
        assert status(first, "a") == 200, "the keys that were good stay so"
        assert dataclasses.asdict(settings)
