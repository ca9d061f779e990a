"""What the compiler learns about a chat template, and what it comes to.

A prompt is taken to be an opening, then for each message a lead, its text and a tail, then the generation prompt. Each
of these may depend on a few features of the message's place (see trees.FEATURES); how is held in small decision trees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from conch_ollama.chat_template.compiler.counts import Count
from conch_ollama.chat_template.compiler.trees import Leaf, Tree, leaves
from conch_ollama.chat_template.compiler.trims import END_OF_THOUGHT, Cut, Trim


@dataclass(frozen=True)
class SystemText:
    """The system text within what stands around another message."""

    trim: Trim


@dataclass(frozen=True)
class ToolField:
    """A part of one tool, `name` or `description` as they are or `parameters` as JSON, and the text `before` it."""

    before: str
    field: str


@dataclass(frozen=True)
class ToolList:
    """The tools as JSON: in one `array` or with `separator` between; `bare`: of each the function alone.

    `spelled`: part by part instead, so that texts may stand there with nothing escaped."""

    bare: bool
    array: bool
    separator: str = ""
    spelled: tuple[ToolField, ...] = ()


Pieces = tuple[str | SystemText | ToolList, ...]


@dataclass(frozen=True)
class Special:
    """What stands for a whole message without text, lead and tail included; None: lead and tail as ever.

    `empty`: the text was empty from the start; `blank`: it is empty only once it has been trimmed."""

    empty: Pieces | None = None
    blank: Pieces | None = None


@dataclass(frozen=True)
class Thought:
    """How a thought in a text is told: what `trim` leaves of what stands before the first END_OF_THOUGHT, stripped of
    the characters `ends`, between `lead` and `middle`, and then what `answer` leaves of the text; `alone` stands for
    `middle` if that is nothing. Where nothing is left of the thought, the usual lead. `whole`: what is trimmed before,
    with a thought in it or without."""

    whole: Trim
    trim: Trim
    ends: str
    answer: Cut
    lead: str
    middle: str
    alone: str

    def __call__(self, text: str, usual: str, trim: Trim) -> str:
        """Lead and text, the usual lead given, and the trimming of texts without a thought."""
        text = self.whole(text)
        thought = self.trim(text.partition(END_OF_THOUGHT)[0]) if END_OF_THOUGHT in text else ""
        left = trim(self.answer(text))
        if not thought:
            return (usual if left or self.alone == self.middle else usual.rstrip()) + left
        return (
            self.lead
            + (thought.strip(self.ends) if self.ends else thought)
            + (self.middle if left else self.alone)
            + left
        )


_UNTOLD: Tree[Thought | None] = Leaf(None)


@dataclass(frozen=True)
class Turn:
    """One role's messages. `together`: what stands between lead and text and is trimmed together with it. `thought`:
    what becomes of one in the text."""

    lead: Tree[Pieces]
    together: Tree[Pieces]
    trim: Tree[Trim]
    tail: Tree[Pieces]
    special: Tree[Special]
    thought: Tree[Thought | None] = _UNTOLD

    @property
    def told(self) -> Thought | None:
        """The way in which a thought is told: one for all places that tell it."""
        return next((one for _, one in leaves(self.thought) if one is not None), None)


@dataclass(frozen=True)
class Prompt:
    """A generation prompt, and what it is with thinking on and off."""

    default: Pieces
    thinking: Pieces
    quiet: Pieces


@dataclass(frozen=True)
class Systems:
    """`empty`, `blank`: what such a system text counts as: "present", "absent", or "apart". `trim`: by which it is
    found blank. `later`: a system message that is not the first, None if the template refuses or drops it."""

    refused: bool
    empty: str
    blank: str
    trim: Trim
    later: tuple[str, Trim, str] | None


@dataclass(frozen=True)
class Calls:
    """An answer that calls tools: `lead`, or what stands around its text (`spoken`; None: the text is dropped), then
    `opening`, each call as `before`, name, `middle`, arguments, `after`, a `separator` between calls, then `tail`.

    Ollama takes what stands in `opening` and `before`, up to a brace, for the mark of a call."""

    lead: str
    spoken: tuple[str, str] | None
    opening: str
    before: str
    middle: str
    after: str
    separator: str
    tail: str


@dataclass(frozen=True)
class Results:
    """A tool's result. `quoted`: as a JSON string. `between`: instead of tail and lead where two follow one another.
    `dropped`: nothing is printed. `prompted`: a last result is followed by the generation prompt."""

    lead: str
    trim: Trim
    tail: str
    quoted: bool = False
    between: str | None = None
    dropped: bool = False
    prompted: bool = True


@dataclass(frozen=True)
class Model:
    """`calls`, `results`: of tools. No calls if the template shows no tools, or in a way `beyond` what is learnt; no
    results if it drops them."""

    opening: Tree[Pieces]
    user: Turn
    assistant: Turn | None
    prompt: Tree[Prompt]
    systems: Systems
    default_system: str | None
    between_turns: str
    calls: Calls | None = None
    results: Results | None = None
    beyond: NotExpressible | None = None
    count: Count | None = None


@dataclass(frozen=True)
class Compiled:
    """A TEMPLATE, unproven. `features` says in words what was learnt."""

    template: str
    stops: tuple[str, ...]
    system_default: str | None
    features: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NotExpressible:
    """The `construct` of the Jinja that stands in the way, and the `limit` it meets (of Go, Ollama or the compiler)."""

    construct: str
    limit: str

    @property
    def summary(self) -> str:
        return f"{self.construct}: {self.limit}"


class NotExpressibleError(Exception):
    """Carries a NotExpressible out of the learning."""

    def __init__(self, construct: str, limit: str) -> None:
        super().__init__(construct)
        self.found = NotExpressible(construct, limit)


def joined(pieces: Sequence[str | SystemText | ToolList]) -> Pieces:
    """Neighbouring literal texts as one, empty ones away."""
    done: list[str | SystemText | ToolList] = []
    for piece in pieces:
        if isinstance(piece, str) and done and isinstance(done[-1], str):
            done[-1] += piece
        elif piece != "":
            done.append(piece)
    return tuple(done)
