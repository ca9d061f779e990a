"""One-character mutations of a proven TEMPLATE or of its Jinja: does the proof go where the prompt changes?

Changed is a prompt where the TEMPLATE, in real Go, is not what Jinja's own environment renders: on conversations that
the prover does not use, one leading BOS taken off, those left out that the Jinja refuses.
`python -m tests.chat_template.mutations 40 llama3 chatml …` runs so many positions a family and side and prints each
false proof, each proof lost without a cause, and the totals; without names, of all reference templates.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal

from conch_ollama.chat_template.compare import compare, is_dated, refer, server_for
from conch_ollama.chat_template.conversations import CONVERSATIONS, PLAIN, Conversation
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.prove import best_template, prove
from conch_ollama.chat_template.verdicts import DIFFERS
from conch_ollama.errors import BadTemplateError
from tests.chat_template.larger_corpus import larger
from tests.chat_template.oracle import digest, digests
from tests.chat_template.real_jinja import real_jinja
from tests.chat_template.references import Reference, index

Side = Literal["TEMPLATE", "Jinja"]
SIDES: tuple[Side, ...] = ("TEMPLATE", "Jinja")
_CHARACTERS = "abx |\"\n'{}0-_.<"
_PLAIN = [one for one in CONVERSATIONS if one.kind in PLAIN]
#: Every how many mutants that keep their proof the whole of `prove` is asked too.
_WHOLE = 8


@dataclass(frozen=True)
class Mutant:
    """One of a family's two texts with a character put in, taken out or exchanged at `at`."""

    family: str
    side: Side
    at: int
    text: str
    around: str


@dataclass(frozen=True)
class Outcome:
    """`changed`: somewhere in the larger corpus. `proven`: still. `noticed`: what lost its proof does differ on the
    prover's own conversations (or fails on one, or on the end of one), judged in the same way."""

    mutant: Mutant
    changed: bool
    proven: bool
    noticed: bool

    @property
    def is_false_proof(self) -> bool:
        return self.changed and self.proven

    @property
    def is_lost_for_nothing(self) -> bool:
        return not self.changed and not self.proven and not self.noticed


def mutants(name: str, side: Side, text: str, count: int) -> Iterator[Mutant]:
    """`count` positions, seeded by family and side."""
    chance = random.Random(f"{name} {side}")
    found = 0
    while found < count:
        at, cut = chance.randrange(len(text)), chance.choice((0, 1))
        changed = text[:at] + chance.choice(("", *_CHARACTERS) if cut else _CHARACTERS) + text[at + cut :]
        if changed == text:
            continue
        found += 1
        around = text[max(at - 30, 0) : at] + "⟦" + text[at : at + cut] + "⟧" + text[at + cut : at + 20]
        yield Mutant(name, side, at, changed, around)


def _differ(ours: Sequence[str], wanted: Sequence[str | None]) -> bool:
    return any(one is not None and one != other for one, other in zip(wanted, ours, strict=True))


def larger_corpus(conversations: int) -> tuple[Conversation, ...]:
    return (*larger(4711, conversations // 2), *larger(99, conversations - conversations // 2))


class Family:
    """A proven template and all that is asked of it."""

    def __init__(self, name: str, conversations: int) -> None:
        self.reference: Reference = index()[name]
        self.jinja = self.reference.template()
        self.bos, self.add_bos = self.reference.bos_token, self.reference.add_bos
        proof = best_template(self.jinja, add_bos=self.add_bos, bos_token=self.bos)
        self.proven, self.template = proof.proven, proof.template
        self.corpus = larger_corpus(conversations)
        self._order = list(range(len(_PLAIN)))
        self._plain = [refer(self.jinja, one) for one in _PLAIN]
        self._kept = 0

    def outcomes(self, side: Side, count: int) -> Iterator[Outcome]:
        """Of the mutants that parse."""
        text = self.template if side == "TEMPLATE" else self.jinja.source
        known = list(mutants(self.reference.name, side, text, count))
        changed = self._changed(side, known, self.corpus)
        for mutant, differs in zip(known, changed, strict=True):
            if differs is None:
                continue
            try:
                proven = self._proves(mutant)
            except BadTemplateError:
                proven = False
            noticed = not proven and (differs or self._noticed(mutant))
            yield Outcome(mutant, differs, proven, noticed)

    def _changed(self, side: Side, known: Sequence[Mutant], corpus: Sequence[Conversation]) -> list[bool | None]:
        """Whether Go and Jinja differ on some conversation of the corpus; None where a mutant does not parse."""
        templates = [self.template, *(one.text for one in known if side == "TEMPLATE")]
        ours, *others = digests(templates, [one.messages for one in corpus])
        assert ours is not None
        if side == "TEMPLATE":
            wanted = self._wanted(self.jinja.source, corpus)
            assert wanted is not None
            return [None if found is None else _differ(found, wanted) for found in others]
        texts = (self._wanted(one.text, corpus) for one in known)
        return [None if found is None else _differ(ours, found) for found in texts]

    def _wanted(self, source: str, corpus: Sequence[Conversation]) -> list[str | None] | None:
        """A digest for each conversation, None where the Jinja refuses it."""
        try:
            jinja = real_jinja(self.reference, source)
            server = server_for(jinja, self.add_bos, self.bos)
        except Exception:
            return None
        found = (refer(jinja, one) for one in corpus)
        return [
            digest(server.without_bos(one.text)) if one.text is not None else "fails" if one.fault else None
            for one in found
        ]

    def _proves(self, mutant: Mutant) -> bool:
        """As `prove` does, but only the plain classes, and no longer than until they differ."""
        if mutant.side == "TEMPLATE":
            jinja, template = self.jinja, mutant.text
            server = server_for(jinja, self.add_bos, self.bos)
            references = (self._plain[at] for at in self._order)
        else:
            jinja, template = self._with_source(mutant.text), self.template
            server = server_for(jinja, self.add_bos, self.bos)
            references = (refer(jinja, _PLAIN[at]) for at in self._order)
        proven = not is_dated(jinja)
        for place, one in enumerate(compare(OllamaTemplate(template), references, server)):
            if one.verdict == DIFFERS:
                proven = False
                self._order.insert(0, self._order.pop(place))  # what tells two apart will tell others
                break
        self._kept += proven
        if proven and self._kept % _WHOLE == 1:
            assert prove(jinja, template, add_bos=self.add_bos, bos_token=self.bos).proven
        return proven

    def _noticed(self, mutant: Mutant) -> bool:
        if self._changed(mutant.side, [mutant], _PLAIN)[0]:
            return True
        ends = [chat.messages[start:] for chat in _PLAIN for start in range(1, len(chat.messages))]
        [found] = digests([mutant.text], ends) if mutant.side == "TEMPLATE" else [None]
        return found is not None and "error" in found

    def _with_source(self, source: str) -> JinjaTemplate:
        tokens = {"bos_token": self.bos, "eos_token": self.reference.eos_token}
        return JinjaTemplate(source, **tokens, special_tokens=self.reference.special_tokens)


def run(name: str, count: int, conversations: int) -> list[Outcome] | None:
    """The outcomes of one family, both sides; None where nothing is proven."""
    family = Family(name, conversations)
    if not family.proven:
        return None
    return [one for side in SIDES for one in family.outcomes(side, count)]


def run_all(names: Sequence[str], count: int, conversations: int = 120) -> dict[str, list[Outcome]]:
    """In as many processes as there are processors. Families that are not proven are left out."""
    with ProcessPoolExecutor() as pool:
        jobs = {name: pool.submit(run, name, count, conversations) for name in names}
        found = {name: job.result() for name, job in jobs.items()}
    return {name: outcomes for name, outcomes in found.items() if outcomes is not None}


def report(outcomes: Sequence[Outcome]) -> str:
    changed = sum(one.changed for one in outcomes)
    false = sum(one.is_false_proof for one in outcomes)
    kept = sum(one.proven and not one.changed for one in outcomes)
    lost = sum(one.is_lost_for_nothing for one in outcomes)
    return (
        f"{len(outcomes)} mutants parse, {changed} change the prompt: {false} of them still proven; "
        f"{len(outcomes) - changed} do not: {kept} of them proven, {lost} not for no cause"
    )


def _main(count: int, names: list[str]) -> None:
    found = run_all(names or list(index()), count)
    for name, outcomes in found.items():
        for one in outcomes:
            if one.is_false_proof or one.is_lost_for_nothing:
                what = "FALSE" if one.is_false_proof else "LOST"
                sys.stdout.write(f"{what} {name} {one.mutant.side} {one.mutant.at}: {one.mutant.around!r}\n")
    sys.stdout.write(f"{len(found)} families. {report([one for outcomes in found.values() for one in outcomes])}\n")


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
