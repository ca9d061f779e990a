"""Which Host and which Origin may come in, and what CORS answers. Pure.

A page of a stranger that makes the browser call this machine shows its Origin; one that has rebound its name's DNS to
this machine shows its name in Host. Origins that are allowed by default are those of local pages and desktop programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

_PROGRAMS = ("app://", "file://", "tauri://", "vscode-webview://", "vscode-file://")
_HEADERS = frozenset(
    {
        "authorization",
        "content-type",
        "accept",
        "user-agent",
        "x-requested-with",
        "x-api-key",
        "api-key",
        "openai-beta",
        "openai-organization",
        "openai-project",
        "anthropic-version",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
        "x-request-id",
        "cache-control",
        # Desktop and web clients tell of themselves as OpenRouter has it.
        "http-referer",
        "x-title",
    }
)
_EXPOSED = "x-request-id, retry-after, x-should-retry"


@lru_cache(1024)  # the same ones come again
def host_allowed(host: str | None, names: tuple[str, ...]) -> bool:
    """Whether a Host header names this machine's loopback, or one of `names` (patterns, without port)."""
    if not host:
        return False
    name = host_name(host)
    return name is not None and (is_local(name) or any(fnmatchcase(name, pattern.lower()) for pattern in names))


def host_not_rebound(host: str | None, names: tuple[str, ...]) -> bool:
    """Whether a Host header can't be a stranger's name that now points here: an address, or one that is allowed."""
    if host_allowed(host, names):
        return True
    name = host_name(host or "")
    try:
        return name is not None and bool(ip_address(name))
    except ValueError:
        return False


@lru_cache(1024)
def host_name(host: str) -> str | None:
    """The name in a Host header, in small letters and without its port; None for what is no such header."""
    if any(rune in host for rune in "/\\@ \t,"):
        return None
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".") or None
    except ValueError:
        return None


@lru_cache(1024)
def is_local(name: str) -> bool:
    """localhost, its subdomains, and loopback addresses."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def origin_allowed(origin: str, host: str | None, allowed: Sequence[str], hosts: tuple[str, ...] = ()) -> bool:
    """Whether scripts of a page from `origin` may call: the shim's own pages, local ones, programs', and the listed.

    Its own pages are those that Host names, unless that is a name that may have been rebound.

    `null`, which any page can make a browser send, is never allowed unless it is listed.
    """
    if any(fnmatchcase(origin.lower(), pattern.lower()) for pattern in allowed):
        return True
    if origin.startswith(_PROGRAMS):
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not name:
        return False
    own = host is not None and parts.netloc.lower() == host.lower() and host_not_rebound(host, hosts)
    return is_local(name) or own


def cors_headers(origin: str) -> list[tuple[bytes, bytes]]:
    """For the answer to an allowed origin: itself, never `*`, and no credentials."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
        (b"access-control-expose-headers", _EXPOSED.encode()),
        (b"vary", b"Origin"),
    ]


def preflight_headers(asked: str, private_network: bool) -> list[tuple[bytes, bytes]]:
    """For the answer to a preflight: those of the headers asked for that may be sent."""
    names = [name for name in (part.strip().lower() for part in asked.split(",")) if _may_send(name)]
    headers = [
        (b"access-control-allow-methods", b"GET, POST, HEAD, OPTIONS"),
        (b"access-control-allow-headers", ", ".join(names).encode()),
        (b"access-control-max-age", b"600"),
    ]
    if private_network:
        headers.append((b"access-control-allow-private-network", b"true"))
    return headers


def _may_send(name: str) -> bool:
    # openai-node tells of itself in a dozen x-stainless-* headers.
    return name in _HEADERS or (name.startswith("x-stainless-") and name.replace("-", "").isalnum() and name.isascii())
