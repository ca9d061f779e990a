"""A claim that a file makes, and what came of checking it again. Data only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["holds", "does not hold", "can't be checked here"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
UNKNOWN: Verdict = "can't be checked here"


@dataclass(frozen=True)
class Claim:
    """`subject` is the file, `claim` a short sentence in its favour, `detail` what was found instead, or why not."""

    subject: str
    claim: str
    verdict: Verdict
    detail: str = ""

    def as_dict(self) -> dict[str, str]:
        """For programs."""
        found = {"subject": self.subject, "claim": self.claim, "verdict": self.verdict}
        return {**found, "detail": self.detail} if self.detail else found


@dataclass
class Claims:
    """Collects claims about one file."""

    subject: str
    found: list[Claim] = field(default_factory=list)

    def holds(self, claim: str, detail: str = "") -> None:
        """It is so."""
        self.found.append(Claim(self.subject, claim, HOLDS, detail))

    def fails(self, claim: str, detail: str) -> None:
        """It is not so."""
        self.found.append(Claim(self.subject, claim, FAILS, detail))

    def unknown(self, claim: str, detail: str) -> None:
        """It may be so."""
        self.found.append(Claim(self.subject, claim, UNKNOWN, detail))

    def equal(self, claim: str, said: Any, found: Any) -> bool:
        """Whether what is said is what is found."""
        if said == found:
            self.holds(claim)
            return True
        self.fails(claim, f"it says {_short(said)}, and it is {_short(found)}")
        return False


@dataclass(frozen=True)
class Verification:
    """All claims of a GGUF or of an exported folder."""

    path: str
    claims: Sequence[Claim]

    @property
    def holds(self) -> bool:
        """Whether none fails."""
        return not any(claim.verdict == FAILS for claim in self.claims)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        counts = {verdict: sum(one.verdict == verdict for one in self.claims) for verdict in (HOLDS, FAILS, UNKNOWN)}
        claims = [claim.as_dict() for claim in self.claims]
        return {"path": self.path, "holds": self.holds, "counts": counts, "claims": claims}


def _short(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:80]} … {text[-30:]}"
