"""What a search for a TEMPLATE comes to: a match with a verdict for each class of conversations, or a mismatch.

Plain results; how they are found is `match.py`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conch_ollama.chat_template.conversations import Conversation
from conch_ollama.errors import TemplateMismatchError

EQUAL, REFUSED, DIFFERS, ALTERED = "equal", "refused by the Jinja", "differs", "altered by Ollama"


@dataclass(frozen=True)
class Match:
    """`template` is what the Modelfile gets, with a literal BOS where the server adds none and the Jinja writes one.

    `classes`: class -> "equal", "refused by the Jinja", "differs", or "altered by Ollama" (it strips thoughts first).
    `bos`: who puts the BOS there. `capabilities`: what Ollama will offer. `bypassed`: Ollama >= 0.30 takes the Jinja.
    """

    family: str
    template: str
    stops: tuple[str, ...]
    parameters: Mapping[str, Any]
    system_default: str | None
    classes: Mapping[str, str]
    bos: str
    capabilities: frozenset[str]
    bypassed: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mismatch:
    """`nearest` family, and the first conversation on which it differs, with a unified diff (Jinja's side is `-`)."""

    nearest: str | None
    conversation: Conversation | None
    diff: str
    reason: str = ""

    @property
    def summary(self) -> str:
        if self.reason:
            return self.reason
        if self.conversation is None:
            return "there is no family to try"
        return f"the nearest is {self.nearest}, which differs in the class {self.conversation.kind!r}"

    def as_error(self) -> TemplateMismatchError:
        return TemplateMismatchError(
            f"no TEMPLATE renders what the model's chat template renders: {self.summary}\n{self.diff}".rstrip(),
            hint="give one with --template FILE",
        )
