"""/docs without a network: the page and everything that it refers to comes from the shim, by the door's rules."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest

from conch_ollama.server.keys import KeyFile
from conch_ollama.server.settings import Security, Settings
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim


class References(HTMLParser):
    """Every address in a page, and the text of scripts that stand in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = ""
        self._script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in {"src", "href", "action", "data"} and value]
        self._script = tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        self.inline += data.strip() if self._script else ""


def test_the_page_and_all_that_it_refers_to_come_from_the_shim(made) -> None:
    running, _ = made
    page = running.client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    references = References(page.text)
    assert references.inline == "", "the policy lets no script run that stands in the page"
    addresses = {urljoin(f"{running.url}/docs", found) for found in references.found}
    assert len(addresses) == 5
    for address in addresses:
        assert address.startswith(f"{running.url}/")
        answer = running.client.get(address)
        assert answer.status_code == 200
        assert len(answer.content) > 100
    style = running.client.get("/docs/swagger-ui.css")
    assert style.headers["content-type"].startswith("text/css")
    targets = re.findall(r"url\(\s*[\"']?([^)\"']{1,20})", style.text) + re.findall(r"@import\s+(\S+)", style.text)
    assert targets
    assert all(target.startswith(("data:", "#")) for target in targets)
    start = running.client.get("/docs/start.js").text
    assert 'url: "openapi.json"' in start
    assert "validatorUrl: null" in start
    assert "//" not in start


def test_the_page_for_people_needs_no_key_and_shows_where_one_goes(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    keys.add("ann")
    with RunningShim({"made": MadeRuntime()}, Settings(security=Security(keys=keys.path))) as running:
        assert running.client.get("/docs/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")
        document = running.client.get("/openapi.json").json()
        assert document["security"] == [{}, {"bearer": []}]
        assert running.client.get("/v1/models").status_code == 401


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js"])
def test_names_and_pages_of_strangers_do_not_get_it(made, path: str) -> None:
    running, _ = made
    assert running.client.get(path, headers={"host": "evil.example"}).status_code == 421
    assert running.client.get(path, headers={"origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize("path", ["/docs/oauth2-redirect", "/docs/../resources/swagger-ui.css", "/docs/x", "/redoc"])
def test_nothing_else_is_handed_out(made, path: str) -> None:
    running, _ = made
    assert running.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())[:12].endswith(
        b"404"
    )
