"""One-character mutations of a proven TEMPLATE or of its Jinja: does the proof go where the prompt changes?

`python -m tests.chat_template.mutations 40 llama3 chatml …` runs so many positions a family and side and prints each
proof that stayed though conversations that no prover uses say otherwise, and the totals.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from conch_ollama.chat_template.conversations import PLAIN
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.prove import best_template, prove
from conch_ollama.errors import BadTemplateError
from tests.chat_template.larger_corpus import first_difference, larger
from tests.chat_template.references import Reference, index

_CHARACTERS = "abx |\"\n'{}0-_.<"


@dataclass(frozen=True)
class Mutation:
    """`differs`: somewhere in the larger corpus; `proven`: still."""

    family: str
    side: str
    at: int
    around: str
    differs: bool
    proven: bool


def mutations(reference: Reference, count: int, conversations: int = 60) -> Iterator[Mutation]:
    """`count` of the TEMPLATE and `count` of the Jinja, those that do not parse left out."""
    bos = reference.bos_token
    template = best_template(reference.template(), add_bos=reference.add_bos, bos_token=bos).template
    chance = random.Random(reference.name)
    for side, text in (("TEMPLATE", template), ("Jinja", reference.template().source)):
        for _ in range(count):
            at, cut = chance.randrange(len(text)), chance.choice((0, 1))
            changed = text[:at] + chance.choice(("", *_CHARACTERS) if cut else _CHARACTERS) + text[at + cut :]
            if changed == text:
                continue
            try:
                jinja = reference.template() if side == "TEMPLATE" else _with_source(reference, changed)
                ours = changed if side == "TEMPLATE" else template
                corpus = larger(count=conversations)
                found = first_difference(jinja, ours, add_bos=reference.add_bos, bos=bos, corpus=corpus)
                proof = prove(jinja, ours, add_bos=reference.add_bos, bos_token=bos)
            except BadTemplateError:  # no template any more
                continue
            assert proof.proven == all(proof.classes[kind].holds for kind in PLAIN)
            around = text[max(at - 30, 0) : at] + "⟦" + text[at : at + cut] + "⟧" + text[at + cut : at + 20]
            yield Mutation(reference.name, side, at, around, found is not None, proof.proven)


def _with_source(reference: Reference, source: str) -> JinjaTemplate:
    tokens = {"bos_token": reference.bos_token, "eos_token": reference.eos_token}
    return JinjaTemplate(source, **tokens, special_tokens=reference.special_tokens)


def _main(count: int, names: list[str]) -> None:
    total = differ = false = lost = 0
    for name in names:
        for one in mutations(index()[name], count):
            total += 1
            differ += one.differs
            false += one.differs and one.proven
            lost += not one.differs and not one.proven
            if one.differs and one.proven:
                sys.stdout.write(f"{one}\n")
    sys.stdout.write(f"{total} mutations, {differ} differ, {false} of them still proven, {lost} alike and not proven\n")


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
