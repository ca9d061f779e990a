"""A port that nobody listens on, for a server that is about to be started, or for one that is not there."""

from __future__ import annotations

import socket


def free_port(address: str = "127.0.0.1") -> int:
    """Free now; another process may take it before it is used."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address.strip("[]"), 0))
        port: int = probe.getsockname()[1]
    return port
