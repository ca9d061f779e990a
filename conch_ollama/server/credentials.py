"""Who sends a request: by API key, by token, by the network it comes from. What they may use is `access`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from conch_ollama.errors import NotFoundError
from conch_ollama.server.access import ANYONE, Caller, parse_address, within
from conch_ollama.server.errors import Refusal
from conch_ollama.server.jwt import TokenReader, unknown_caller
from conch_ollama.server.keys import KeyFile
from conch_ollama.server.settings import Address, Network, Security


class Credentials:
    """Tells callers apart. Without any credentials set everybody is the same caller, and any Bearer is accepted."""

    def __init__(self, security: Security) -> None:
        self._security = security
        self._keys = KeyFile(security.keys) if security.keys is not None else None
        if self._keys is not None:
            if not self._keys.path.is_file():
                raise NotFoundError(
                    f"no such file of keys: {self._keys.path}", hint="make it with `conch keys add NAME`"
                )
            self._keys.load()
        self._tokens = TokenReader(security.tokens) if security.tokens is not None else None
        if self._tokens is not None:
            self._tokens.check()

    async def identify(self, headers: Mapping[bytes, bytes], address: Address | None) -> Caller:
        """The caller, by the key or token in a request's headers, or by its address. Raises Refusal (401, 403)."""
        if not self._security.closed:
            return ANYONE
        refusal: Refusal | None = None
        if presented := _presented_secret(headers):
            try:
                return await self._by_secret(presented, address)
            except Refusal as err:
                # Chat programs always send some key; where the network is trusted that must not lock them out.
                refusal = err
        if within(address, self._security.networks):
            return Caller(
                f"network {address}", "network", self._security.network_models, rate=self._security.network_rate
            )
        raise refusal or unknown_caller("A key is needed: send it as `Authorization: Bearer KEY`.")

    async def _by_secret(self, presented: str, address: Address | None) -> Caller:
        key = self._keys.find(presented) if self._keys is not None else None
        if key is not None and key.revoked is not None:
            raise replace(unknown_caller("The key is not known."), who=key.name, aside="It was revoked.")
        if key is not None:
            caller = key.caller()
            if caller.networks and not within(address, caller.networks):
                raise Refusal(403, "The key may not be used from here.", "address_not_allowed", who=key.name)
            return caller
        if self._tokens is not None and presented.count(".") == 2:
            return await self._tokens.caller(presented)
        raise unknown_caller("The key is not known.")


def _presented_secret(headers: Mapping[bytes, bytes]) -> str | None:
    """The key or token: in Authorization, or as Azure's and Anthropic's clients send it."""
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip().decode("latin-1") or None
    other = headers.get(b"x-api-key") or headers.get(b"api-key")
    return other.decode("latin-1") if other else None


def client_address(peer: str | None, forwarded: Sequence[bytes], proxies: Sequence[Network]) -> Address | None:
    """The client's own address: the peer's, unless that is a trusted proxy; then the last in X-Forwarded-For that is
    none of them. What stands further left anybody could have written. None where the proxy wrote what is no address:
    then it is not known, and the proxy's own, which may be trusted, would be the wrong one."""
    address = parse_address(peer) if peer else None
    if not proxies or not within(address, proxies):
        return address
    hops = [part.strip() for line in forwarded for part in line.decode("latin-1").split(",")]
    for hop in filter(None, reversed(hops)):
        # Some write the port too: [2001:db8::1]:443, 10.1.2.3:443.
        bare = hop.partition(":")[0] if hop.count(":") == 1 else hop.removeprefix("[").partition("]")[0]
        address = parse_address(bare)
        if address is None or not within(address, proxies):
            return address
    return address
