"""JSON Web Tokens: HS256 with a secret, RS256 and ES256 with the public keys of a JWKS file or URL.

`exp` and `aud` must be there and right; `none` and algorithms that are not listed are refused, and the key's kind must
be the algorithm's, so that a public key never serves as a secret.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conch_ollama.errors import BadConfigError, UsageError
from conch_ollama.server.access import Caller
from conch_ollama.server.errors import Refusal
from conch_ollama.server.settings import TokenSettings

if TYPE_CHECKING:
    import jwt

log = logging.getLogger(__name__)
ALGORITHMS = ("HS256", "RS256", "ES256")
_KINDS = {"RS256": "RSA", "ES256": "EC"}
_FRESH_S = 600.0
_AGAIN_S = 30.0
_JWKS_BYTES = 1 << 20


class TokenReader:
    """Checks tokens. Raises UsageError at once for settings that can't work."""

    def __init__(self, settings: TokenSettings) -> None:
        unknown = set(settings.algorithms) - set(ALGORITHMS)
        if unknown or not settings.algorithms:
            raise UsageError(
                f"JWT algorithms {', '.join(sorted(unknown)) or '(none)'}: not handled",
                hint=f"choose of {', '.join(ALGORITHMS)}",
            )
        if "HS256" in settings.algorithms and len((settings.secret or "").encode()) < 32:
            raise UsageError("HS256 needs a secret of at least 32 bytes", hint="openssl rand -hex 32")
        if set(settings.algorithms) & set(_KINDS) and not settings.jwks:
            raise UsageError("RS256 and ES256 need a JWKS file or URL")
        if not settings.audience:
            raise UsageError("tokens need an audience: one for another service must not open this one")
        self._settings = settings
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._lock = asyncio.Lock()

    async def caller(self, token: str) -> Caller:
        """Who comes with this token. Raises Refusal (401) for one that is not good, whatever the reason."""
        import jwt

        wanted = self._settings
        try:
            head = jwt.get_unverified_header(token)
            algorithm = head.get("alg")
            if algorithm not in wanted.algorithms:
                raise jwt.InvalidAlgorithmError("the algorithm is not accepted")
            key = wanted.secret if algorithm == "HS256" else await self._public_key(head.get("kid"), str(algorithm))
            claims = jwt.decode(
                token,
                key,  # type: ignore[arg-type]
                algorithms=[str(algorithm)],
                audience=wanted.audience,
                issuer=wanted.issuer,
                leeway=wanted.leeway_s,
                options={"require": ["exp", "aud"]},
            )
        except jwt.PyJWTError as err:
            raise unknown_caller(f"The token is not good: {err}.") from err
        return self._named(claims)

    def _named(self, claims: dict[str, Any]) -> Caller:
        wanted = self._settings
        models = claims.get(wanted.models_claim, wanted.models)
        if isinstance(models, str):
            models = models.split()
        if not isinstance(models, list | tuple) or not all(isinstance(name, str) for name in models):
            raise unknown_caller(f"The token's claim {wanted.models_claim} is no list of names.")
        return Caller(str(claims.get(wanted.name_claim, "token")), "token", tuple(models), rate=wanted.rate)

    async def _public_key(self, key_id: str | None, algorithm: str) -> Any:
        import jwt

        async with self._lock:
            age = time.monotonic() - self._fetched
            if age > _FRESH_S or (key_id not in self._keys and age > _AGAIN_S):
                await self._fetch()
        found = self._keys.get(key_id)
        if found is None and key_id is None and len(self._keys) == 1:
            found = next(iter(self._keys.values()))
        if found is None or found.key_type != _KINDS[algorithm]:
            raise jwt.InvalidKeyError("no key of that id and kind")
        return found.key

    async def _fetch(self) -> None:
        import jwt

        where = self._settings.jwks or ""
        self._fetched = time.monotonic()
        try:
            text = await _download(where) if "://" in where else Path(where).read_text(encoding="utf-8")
            keys = jwt.PyJWKSet.from_dict(json.loads(text)).keys
        except (OSError, ValueError, jwt.PyJWTError) as err:
            # The keys that were good stay so: the identity provider may be down for a while.
            log.warning("the JWKS %s can't be read: %s", where, err)
            return
        self._keys = {key.key_id: key for key in keys}

    def check(self) -> None:
        """Read a JWKS that is a file, so that a wrong path is told at the start. Raises BadConfigError."""
        where = self._settings.jwks
        if where and "://" not in where and not Path(where).is_file():
            raise BadConfigError(f"{where}: no such JWKS file")


async def _download(url: str) -> str:
    """At most a megabyte. Raises OSError."""
    import httpx

    try:
        async with httpx.AsyncClient(timeout=10.0) as client, client.stream("GET", url) as response:
            response.raise_for_status()
            got = b""
            async for piece in response.aiter_bytes():
                got += piece
                if len(got) > _JWKS_BYTES:
                    raise OSError("it is larger than a megabyte")
            return got.decode()
    except httpx.HTTPError as err:
        raise OSError(str(err) or type(err).__name__) from err


def unknown_caller(message: str) -> Refusal:
    """401, and how to do better."""
    return Refusal(401, message, "invalid_api_key", headers={"www-authenticate": "Bearer"})
