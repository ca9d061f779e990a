"""API keys in a file, as hashes: made, listed, revoked by `conch keys`, looked up by the shim.

A key is 32 random bytes, so a plain SHA-256 can't be guessed back; what slows down guessing is for passwords.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadConfigError, NotFoundError, NotWritableError, UsageError
from conch_ollama.server.access import Caller
from conch_ollama.server.settings import Network

log = logging.getLogger(__name__)
_KEY = re.compile(r"^conch_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$")
#: Seconds between two looks at the file's time.
_LOOK_S = 1.0


@dataclass(frozen=True)
class APIKey:
    """One key as it is stored. `id` is its public half; `created`, `revoked`: seconds since 1970."""

    id: str
    name: str
    hash: str
    created: float
    models: tuple[str, ...] = ("*",)
    networks: tuple[str, ...] = ()
    rate: int | None = None
    revoked: float | None = None

    def caller(self) -> Caller:
        """Who comes with this key. Raises BadConfigError for networks that are none."""
        return Caller(self.name, "key", self.models, tuple(parse_network(text) for text in self.networks), self.rate)


def parse_network(text: str) -> Network:
    """`10.0.0.0/8`, `::1`, an address for itself. Raises UsageError."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError as err:
        raise UsageError(f"{text!r} is not a network", hint="write it as 10.1.0.0/16 or 192.168.1.7") from err


class KeyFile:
    """The keys of one file. Read anew when the file changes; a file that went bad leaves the last good keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._looked = float("-inf")
        self._keys: dict[str, APIKey] = {}

    def load(self) -> dict[str, APIKey]:
        """All keys by id; none where there is no file. Raises BadConfigError."""
        stamp = self._stat()
        if stamp != self._stamp:
            self._keys = {} if stamp is None else _read(self.path)
            self._stamp = stamp
        return self._keys

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    def find(self, presented: str) -> APIKey | None:
        """The key that is presented, if it is known; a revoked one too. Compares in constant time."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            try:
                self.load()
            except BadConfigError as err:
                log.warning("%s; the keys stay what they were", err.message)
        match = _KEY.match(presented)
        key = self._keys.get(match[1]) if match else None
        # The same work for unknown keys, so that the time tells nothing about which ids exist.
        same = hmac.compare_digest(key.hash if key else "0" * 64, sha256(presented.encode()).hexdigest())
        return key if key is not None and same else None

    def add(
        self, name: str, *, models: Iterable[str] = ("*",), networks: Iterable[str] = (), rate: int | None = None
    ) -> str:
        """Make a key and store its hash; the key itself is returned once and kept nowhere."""
        keys = dict(self.load())
        if any(key.name == name and key.revoked is None for key in keys.values()):
            raise UsageError(f"there is a key of the name {name!r} already", hint=f"conch keys revoke {name}")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        text = f"conch_{key_id}_{secret}"
        places = tuple(str(parse_network(network)) for network in networks)
        keys[key_id] = APIKey(
            key_id, name, sha256(text.encode()).hexdigest(), time.time(), tuple(models) or ("*",), places, rate
        )
        self._write(keys)
        return text

    def revoke(self, name_or_id: str) -> APIKey:
        """Take a key's rights away, at once for running shims too. Raises NotFoundError."""
        keys = dict(self.load())
        for key in keys.values():
            if name_or_id in {key.id, key.name} and key.revoked is None:
                keys[key.id] = APIKey(**{**asdict(key), "revoked": time.time()})
                self._write(keys)
                return keys[key.id]
        raise NotFoundError(f"{self.path} has no key of the name or id {name_or_id!r}", hint="see `conch keys list`")

    def _write(self, keys: Mapping[str, APIKey]) -> None:
        text = json.dumps({"keys": [asdict(key) for key in keys.values()]}, ensure_ascii=False, indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, scratch = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)  # only the owner may read
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            if self.path.exists():
                shutil.copymode(self.path, scratch)  # a service's own user may have been let in
            Path(scratch).replace(self.path)
        except OSError as err:
            raise NotWritableError(f"{self.path}: the keys can't be written: {err.strerror}") from err
        self._stamp = None
        self.load()


def _read(path: Path) -> dict[str, APIKey]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["keys"]
        keys = [_key(entry) for entry in found]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise BadConfigError(f"{path} is no file of keys: {err}", hint="make it with `conch keys add`") from err
    return {key.id: key for key in keys}


def _key(entry: Mapping[str, Any]) -> APIKey:
    lists = {name: tuple(entry.get(name) or default) for name, default in (("models", ("*",)), ("networks", ()))}
    key = APIKey(**{**entry, **lists})
    key.caller()
    return key
