"""Model names as Ollama takes them: `[host/][namespace/]model[:tag]`. Checks and takes apart; asks no server.

After Ollama's types/model/name.go: every part starts with a letter, a digit or `_`; 80 bytes, the host 350.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

from conch_ollama.errors import ModelNameError

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
_LONGEST = {"host": 350, "namespace": 80, "model": 80, "tag": 80}
_MARKS = {"host": "-_.:", "namespace": "-_", "model": "-_.", "tag": "-_."}


@dataclass(frozen=True)
class ModelName:
    """A full name; the parts that were left out are Ollama's defaults."""

    model: str
    tag: str = DEFAULT_TAG
    namespace: str = DEFAULT_NAMESPACE
    host: str = DEFAULT_HOST

    def __str__(self) -> str:
        """The shortest name that Ollama prints too: `magic-conch:latest`."""
        prefix = ""
        if self.host.lower() != DEFAULT_HOST:
            prefix = f"{self.host}/{self.namespace}/"
        elif self.namespace.lower() != DEFAULT_NAMESPACE:
            prefix = f"{self.namespace}/"
        return f"{prefix}{self.model}:{self.tag}"

    @property
    def short(self) -> str:
        """What a user types: the name without `:latest`."""
        return str(self).removesuffix(f":{DEFAULT_TAG}")

    def same(self, other: ModelName) -> bool:
        """Ollama's names differ in more than case, or are the same."""
        return str(self).lower() == str(other).lower()

    def with_tag_suffix(self, suffix: str) -> ModelName:
        """The same model under a tag of its own; the suffix always fits."""
        return replace(self, tag=self.tag[: _LONGEST["tag"] - len(suffix)] + suffix)


def parse_name(text: str) -> ModelName:
    """Takes a name apart. Raises ModelNameError, which names the part at fault and proposes a name."""
    rest, tag = text, DEFAULT_TAG
    if text.rfind(":") > text.rfind("/"):
        rest, _, tag = text.rpartition(":")
    rest = re.sub(r"^https?://", "", rest)
    parts = rest.split("/")
    if len(parts) > 3:
        raise ModelNameError(
            f"model name {text!r} has {len(parts)} parts, at most host/namespace/model", hint=_try(text)
        )
    model = parts[-1]
    namespace = parts[-2] if len(parts) > 1 else DEFAULT_NAMESPACE
    host = parts[0] if len(parts) > 2 else DEFAULT_HOST
    for kind, part in (("host", host), ("namespace", namespace), ("model", model), ("tag", tag)):
        fault = _fault(kind, part)
        if fault:
            raise ModelNameError(f"model name {text!r}: {fault}", hint=_try(text))
    return ModelName(model, tag, namespace, host)


def _fault(kind: str, part: str) -> str | None:
    if not part:
        return f"the {kind} is empty"
    if len(part.encode("utf-8", "surrogatepass")) > _LONGEST[kind]:
        return f"the {kind} is longer than {_LONGEST[kind]} bytes"
    for rune in part:
        if not _plain(rune) and rune not in _MARKS[kind]:
            return f"{rune!r} can't be in a {kind} name; letters A to Z, digits and {' '.join(_MARKS[kind])} can"
    if part[0] in "-.:":
        return f"a {kind} can't start with {part[0]!r}"
    return None


def _plain(rune: str) -> bool:
    return (rune.isascii() and rune.isalnum()) or rune == "_"


def _try(text: str) -> str:
    return f"a name that Ollama takes: {propose(text)}"


def propose(text: str) -> str:
    """A valid name as near to `text` as can be: model and, where it can be read, tag."""
    head, separator, tail = text.rpartition(":")
    model_text, tag_text = (head, tail) if separator and "/" not in tail else (text, "")
    model = _near(model_text.rstrip("/").rpartition("/")[2]) or "my-model"
    tag = _near(tag_text)
    return f"{model}:{tag}" if tag and tag != DEFAULT_TAG else model


def _near(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(rune for rune in plain if not unicodedata.combining(rune))
    dashed = re.sub(r"[^A-Za-z0-9_.]+", "-", plain)
    return dashed.strip("-.")[:80].rstrip("-.")
