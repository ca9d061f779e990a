"""What the shim is told: plain frozen values. Reads nothing; conch.toml is read in `configuration`."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Limits:
    """Bounds of one request and of the load. Times in seconds.

    `parallel`: answers at once of one model whose runtime does not say how many it can give, `queue`: requests that may
    wait for it; a model may have its own. `stuck_s`: how long a client may take nothing of its stream.
    `body_bytes` and `json_depth` are checked before the JSON is parsed, `body_s` is how long a body may take to come.
    """

    body_bytes: int = 32 * 2**20
    json_depth: int = 64
    body_s: float = 30.0
    parallel: int = 16
    queue: int = 64
    queue_s: float = 120.0
    first_token_s: float = 600.0
    total_s: float = 3600.0
    keep_alive_s: float = 10.0
    stuck_s: float = 120.0
    shutdown_s: float = 30.0
    connections: int = 2048
    max_tokens: int | None = None


@dataclass(frozen=True)
class TokenSettings:
    """JSON Web Tokens. `secret` is for HS256, `jwks` (a file or an https URL) for RS256 and ES256.

    `models_claim` names the claim that lists models (patterns); a token without it may use `models`.
    """

    algorithms: tuple[str, ...]
    audience: str
    issuer: str | None = None
    secret: str | None = field(default=None, repr=False)
    jwks: str | None = None
    leeway_s: float = 10.0
    name_claim: str = "sub"
    models_claim: str = "models"
    models: tuple[str, ...] = ("*",)
    rate: int | None = None


@dataclass(frozen=True)
class Security:
    """Who may come in. `keys`: file of hashed API keys; `networks`: addresses that need no key.

    `hosts`: names that Host may hold besides loopback's; `origins`: pages whose scripts may call (a trailing `*` is a
    pattern); `proxies`: peers whose X-Forwarded-For is believed. `insecure`: serve strangers without any key.
    """

    keys: Path | None = None
    tokens: TokenSettings | None = None
    networks: tuple[Network, ...] = ()
    network_models: tuple[str, ...] = ("*",)
    network_rate: int | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    proxies: tuple[Network, ...] = ()
    insecure: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @cached_property
    def closed(self) -> bool:
        """Whether a request must show who sends it."""
        return self.keys is not None or self.tokens is not None or bool(self.networks)


@dataclass(frozen=True)
class ModelSettings:
    """A model as clients see it: which runtime's model it is, who may reach it, what it does unless asked otherwise.

    `networks`: addresses that may use it (empty: all). `defaults` are OpenAI body fields that a request overrides;
    `system` comes before a conversation that has no system message of its own. `capabilities`: for a runtime that
    can't tell them, as in ModelCard.
    """

    runtime: str
    model: str | None = None
    networks: tuple[Network, ...] = ()
    parallel: int | None = None
    queue: int | None = None
    system: str | None = None
    defaults: Mapping[str, object] = field(default_factory=dict)
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Route:
    """An alias: another name of a model, for callers whose name fits `keys` (patterns; empty: for all)."""

    alias: str
    model: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audit:
    """Where a line of JSON is kept for each answer. `texts`: with what was asked and said."""

    file: Path | None = None
    texts: bool = False


@dataclass(frozen=True)
class Settings:
    """The whole shim. Without `models` every runtime's models are served under their own names.

    `reasoning_field`: the name of the thought in OpenAI answers ("reasoning_content", "reasoning").
    """

    host: str = "127.0.0.1"
    port: int = 8000
    limits: Limits = Limits()
    security: Security = Security()
    audit: Audit = Audit()
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    reasoning_field: str = "reasoning_content"
    feedback: Path | None = None
    default_model: str | None = None
