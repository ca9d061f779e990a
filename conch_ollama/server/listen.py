"""Listens: a socket, uvicorn, an end that lets running answers end. Refuses to serve strangers by mistake."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from conch_ollama.errors import UsageError
from conch_ollama.server.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from conch_ollama.server.protocol import DrainingServer

_BACKLOG = 2048


def check_exposure(settings: Settings) -> None:
    """Raises UsageError for an address that others reach while nothing asks who they are."""
    security = settings.security
    if bool(security.tls_cert) != bool(security.tls_key):
        raise UsageError("TLS needs a certificate and its key", hint="give --tls-cert and --tls-key")
    if security.closed or security.insecure or is_loopback(settings.host):
        return
    raise UsageError(
        f"{settings.host} can be reached by others, and nothing asks who they are",
        hint="make a key (`conch keys add NAME`) and give --keys, or listen on 127.0.0.1; --insecure serves everybody",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UsageError where the address is taken or none of this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as err:
        raise UsageError(
            f"can't listen on {host} port {port}: {getattr(err, 'strerror', None) or err}", hint="choose another --port"
        ) from err


def url_of(settings: Settings, bound: socket.socket) -> str:
    """Where clients find it."""
    scheme = "https" if settings.security.tls_cert else "http"
    host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{bound.getsockname()[1]}"


async def listen(
    app: FastAPI, settings: Settings, bound: socket.socket, ready: Callable[[Callable[[], None]], None]
) -> None:
    """Serve until a signal ends it; calls `ready` when it takes requests, with what ends it as a signal would.

    After the signal new requests get 503, running answers have `limits.shutdown_s` seconds to end.
    """
    import uvicorn

    from conch_ollama.server.protocol import DrainingServer, PatientProtocol

    security, limits = settings.security, settings.limits
    config = uvicorn.Config(
        app.state.door,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        ws="none",
        http=PatientProtocol,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=int(limits.shutdown_s) or 1,
        ssl_certfile=security.tls_cert,
        ssl_keyfile=security.tls_key,
    )
    server = DrainingServer(config, app.state.shim)
    watch = asyncio.create_task(_when_started(server, ready))
    try:
        await server.serve(sockets=[bound])
    finally:
        watch.cancel()


async def _when_started(server: DrainingServer, ready: Callable[[Callable[[], None]], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.005)
    ready(lambda: server.handle_exit(signal.SIGTERM, None))
