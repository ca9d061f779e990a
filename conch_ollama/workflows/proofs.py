"""Around a proof: by whose rules it is made, the first class in which it fails, and why, in a line. Proves nothing."""

from __future__ import annotations

from conch_ollama.chat_template.conversations import PLAIN
from conch_ollama.chat_template.ollama_values import LATEST, Version
from conch_ollama.chat_template.prove import DATE
from conch_ollama.chat_template.verdicts import ClassVerdict, Proof
from conch_ollama.ollama.versions import version_numbers


def rules_of(version: str) -> Version:
    """Which Ollama to render as for a server of that version; a build of one's own counts as new."""
    numbers = version_numbers(version)
    return numbers if numbers > (0, 0, 0) else LATEST


def first_difference(proof: Proof) -> tuple[str, ClassVerdict | None]:
    """(class, verdict) of the first plain class that does not hold, in the corpus' order; ("", None) if all do."""
    for kind in PLAIN:
        verdict = proof.classes.get(kind)
        if verdict is not None and not verdict.holds:
            return kind, verdict
    return "", None


def why_unproven(proof: Proof) -> str:
    """Why there is no proof, in one line."""
    if proof.reason == DATE:
        return "the model's own template prints today's date, which Ollama's can't"
    if proof.reason:
        return proof.reason
    differing = [kind for kind in PLAIN if (one := proof.classes.get(kind)) is not None and not one.holds]
    return f"it differs in {', '.join(differing)}"
