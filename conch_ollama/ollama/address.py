"""Where Ollama listens: OLLAMA_HOST, or what the user gave, by Ollama's rules (envconfig/config.go). Opens nothing."""

from __future__ import annotations

import ipaddress
import os

from conch_ollama.errors import UsageError

DEFAULT_PORT = 11434
_SCHEME_PORTS = {"http": 80, "https": 443}


def resolve_host(text: str | None = None) -> str:
    """The URL to connect to, e.g. `http://127.0.0.1:11434`; without `text` OLLAMA_HOST's. Raises UsageError.

    Without a scheme it is http and port 11434, with one the scheme's port; 0.0.0.0 and :: are addresses to listen on,
    so loopback is taken. A port that is none is an error here (Ollama falls back to 11434).
    """
    given = os.environ.get("OLLAMA_HOST", "") if text is None else text
    stripped = given.strip().strip("\"'")
    if stripped == "ollama.com":
        return "https://ollama.com:443"
    scheme, separator, rest = stripped.partition("://")
    if not separator:
        scheme, rest = "http", stripped
    if scheme not in _SCHEME_PORTS:
        raise UsageError(f"Ollama host {given!r}: the scheme is http or https, not {scheme}")
    hostport, _, path = rest.partition("/")
    host, port_text = _split(hostport)
    port = _SCHEME_PORTS[scheme] if separator else DEFAULT_PORT
    if port_text is not None:
        if not (port_text.isascii() and port_text.isdigit() and int(port_text) <= 65535):
            raise UsageError(f"Ollama host {given!r}: {port_text!r} is not a port", hint="write it as 127.0.0.1:11434")
        port = int(port_text)
    path = path.strip("/")
    return f"{scheme}://{_connectable(host, given)}:{port}" + (f"/{path}" if path else "")


def _split(hostport: str) -> tuple[str, str | None]:
    """(host without brackets, port or None), as net.SplitHostPort and what Ollama does when that fails."""
    if hostport.startswith("["):
        host, _, after = hostport[1:].partition("]")
        return host, after.removeprefix(":") if after.startswith(":") else None
    if hostport.count(":") == 1:
        host, _, port = hostport.partition(":")
        return host, port
    return hostport, None


def _connectable(host: str, given: str) -> str:
    if not host:
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if any(rune.isspace() or rune in ':@?#[]"<>\\' for rune in host):
            raise UsageError(f"Ollama host {given!r}: {host!r} is not a host name") from None
        return host
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"[{address}]" if address.version == 6 else str(address)
