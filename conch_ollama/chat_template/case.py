"""One model to prove TEMPLATEs for: the prompts of its Jinja, rendered once for all proofs, and what its server does.

Chooses no TEMPLATE (`prove.py`) and judges nothing itself (`judge.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from conch_ollama.chat_template.compare import References, Tokenizer, compare, is_dated
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.judge import Judged, Subject, judge
from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.ollama_values import V0_9_3, Version
from conch_ollama.chat_template.verdicts import Server
from conch_ollama.errors import BadTemplateError

T = TypeVar("T")
DATE = "date"
#: Units of work (`jinja_limits.py`) for all renderings of a proof. Kimi-K3's template, the heaviest in llama.cpp's
#: sources, needs two thirds of it.
WORK = 30_000_000


def references_of(jinja: JinjaTemplate) -> References:
    """The prompts to prove against, not rendered yet: the work for them is counted, and the clock of a Jinja that asks
    for the date is stopped. Any number of proofs may share them."""
    metered = jinja.within(WORK)
    dated = is_dated(metered)
    return References(metered.at(datetime.now()) if dated else metered, dated=dated)


@dataclass(frozen=True)
class Case:
    """A model's prompts and its server, as `version` of Ollama. `tokenizer`: for the ids, where they can differ."""

    references: References
    server: Server
    version: Version
    tokenizer: Tokenizer | None

    @classmethod
    def of(
        cls,
        references: References,
        server: Server,
        *,
        version: Version = V0_9_3,
        tokenizer: Tokenizer | None = None,
    ) -> Case:
        """With the tokenizer only where it has something to tell: the same bytes are the same tokens, and only a BOS
        that is taken off can change what it stood before."""
        cut = server.add_bos and bool(server.bos) and server.bos_is_written
        return cls(references, server, version, tokenizer if cut else None)

    @property
    def jinja(self) -> JinjaTemplate:
        """The model's own, its clock stopped if it asks for the date."""
        return self.references.jinja

    @property
    def reason(self) -> str:
        """What speaks against any proof."""
        return DATE if self.references.dated else ""

    def checked(self, proof: T) -> T:
        """The proof. Raises BadTemplateError where the Jinja did more than a proof's renderings may do together."""
        if self.jinja.is_spent:
            raise BadTemplateError(
                "chat template (Jinja): it does too much to be proven: more than a thousand prompts can need",
                hint="a loop over more than the messages?",
            )
        return proof

    def subject(self, template: str) -> Subject:
        """Raises BadTemplateError where Ollama would refuse the template."""
        return Subject(self.jinja, OllamaTemplate(template, self.version), self.server, self.tokenizer)

    def judged(self, template: str, strategy: str = "given") -> Judged:
        """One TEMPLATE on every conversation. Raises BadTemplateError where Ollama would refuse it."""
        subject = self.subject(template)
        everything = (*self.references.plain, *self.references.others)
        compared = compare(subject.template, everything, self.server, self.tokenizer)
        return judge(subject, compared, reason=self.reason, strategy=strategy)
