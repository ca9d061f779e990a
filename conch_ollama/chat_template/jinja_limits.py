"""How much work a chat template may do: a budget that is counted, so that the verdict is the same on every machine.

A template is a stranger's program. Each piece of its syntax tree costs a unit each time it is run (`jinja_code.py` puts
the counting into loops and macros), and each operation costs by the size of what it works on and makes. No value grows
past `largest`, so no single operation takes long: nothing has to be interrupted from outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined

#: Units for one rendering, and more for a long conversation or many tools: half a second at the worst. 2,000 are usual,
#: and 52,000 the most that a known template spends on a conversation of the proof.
BUDGET = 1_000_000
UNITS_PER_MESSAGE = 3_000
UNITS_PER_TOOL = 20_000
UNITS_PER_CHARACTER = 2
#: What a rendering that was stopped costs where all renderings together have a budget: few are waited for.
STOPPED = 8_000_000
#: Of renderings together: what the first may spend, and each more. The most that a published template spends is 6,000
#: on average and 52,000 on one, so a template that is slow for every conversation is known after a few.
UNITS_TO_BEGIN = 2_000_000
UNITS_PER_RENDERING = 20_000
#: Characters that a value may have, and more if the conversation itself has them; sixteen count as one element.
LARGEST = 1 << 22
LARGEST_INTEGER_BITS = 1 << 14
DEEPEST = 64
_SHORT = 64

_CONTAINERS: tuple[type[Any], ...] = (list, tuple, dict, type({}.items()), type({}.values()), type({}.keys()))
_LEAVES = frozenset((bool, float, type(None), range, Undefined))


class LimitError(SecurityError):
    """The template asks for more than it is given; the message names what."""


class Purse:
    """What all renderings of a template may spend together: `units`, and not much more than usual on average."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.spent = self.renderings = 0

    def pay(self, units: int) -> None:
        """For one rendering."""
        self.spent += units
        self.renderings += 1

    @property
    def is_empty(self) -> bool:
        return self.spent > min(self.units, UNITS_TO_BEGIN + UNITS_PER_RENDERING * self.renderings)


class BoundedContext(Context):
    """One rendering's variables, and what it may still spend. Compiled templates and our filters call its methods."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.left = [BUDGET]
        self.largest = LARGEST

    def allow_for(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[object] = ()) -> None:
        """More budget for a long conversation, and for many tools."""
        size = sum(len(content) for one in messages if isinstance(content := one.get("content"), str))
        self.left[0] += UNITS_PER_MESSAGE * len(messages) + UNITS_PER_CHARACTER * size + UNITS_PER_TOOL * len(tools)
        self.largest += UNITS_PER_CHARACTER * size

    def derived(self, locals: dict[str, Any] | None = None) -> Context:
        made = super().derived(locals)
        if isinstance(made, BoundedContext):
            made.left, made.largest = self.left, self.largest
        return made

    def spend(self, units: int) -> bool:
        self.left[0] -= units
        if self.left[0] < 0:
            raise LimitError("stopped, it does too much: a loop, macro or filter over more than a prompt can need")
        return True

    def bound(self, size: int, what: str) -> None:
        """`size` in characters, of a value that is about to be made."""
        if size > self.largest:
            raise LimitError(f"{what} would make a value of {size} characters or more, {self.largest} are allowed")

    def weigh(self, value: Any) -> int:
        """Units of a container with all in it, each as often as it is in it. Raises where it is too large or deep."""
        total, level, largest = 0, [value], self.largest >> 4
        for _ in range(DEEPEST):
            inner: list[Any] = []
            for one in level:
                total += len(one)
                if total > largest:
                    raise LimitError(f"a list or mapping of more than {largest} elements in all")
                for child in (*one.keys(), *one.values()) if isinstance(one, dict) else one:
                    if isinstance(child, str):
                        total += len(child) >> 4
                    elif isinstance(child, _CONTAINERS):
                        inner.append(child)
            if not inner:
                return total
            level = inner
        raise LimitError(f"lists or mappings more than {DEEPEST} deep inside one another")

    def sized(self, value: Any) -> Any:
        """The value, its size paid for: something will look at all of it."""
        if isinstance(value, str):
            if len(value) > _SHORT:
                self.spend(len(value) >> 4)
        elif isinstance(value, _CONTAINERS):
            self.spend(self.weigh(value))
        return value

    def made(self, value: Any, what: str = "an operation") -> Any:
        """The value, new from an operation: paid for, not too large; what is still to be iterated is counted."""
        kind = type(value)
        if kind in _LEAVES:
            return value
        if kind is int:
            if value.bit_length() > LARGEST_INTEGER_BITS:
                raise LimitError(f"{what} makes an integer of more than {LARGEST_INTEGER_BITS} bits")
        elif isinstance(value, str):
            if len(value) > _SHORT:
                self.bound(len(value), what)
                self.spend(len(value) >> 4)
        elif isinstance(value, _CONTAINERS):
            self.spend(self.weigh(value))
        elif isinstance(value, Iterator):
            return Counted(self, value)
        return value

    def collected(self, parts: Iterator[str]) -> str:
        """The prompt: bounded like a value."""
        found, size = [], 0
        for part in parts:
            size += len(part)
            if size > self.largest:
                raise LimitError(f"more than {self.largest} characters of output")
            found.append(part)
        return "".join(found)

    # -- what compiled templates say instead of Python's own

    def shown(self, value: Any) -> str:
        """str(value)"""
        return value if self.sized(value).__class__ is str else str(value)

    def joined(self, values: Sequence[Any]) -> str:
        """a ~ b"""
        return self.concat([self.shown(value) for value in values])

    def concat(self, texts: Sequence[str]) -> str:
        """What was collected in a macro, a set block or a filter block."""
        size = sum(map(len, texts))
        self.bound(size, "joining texts")
        self.spend((size >> 4) + (len(texts) >> 2))
        return "".join(texts)

    def within(self, part: Any, whole: Any) -> bool:
        """part in whole"""
        if isinstance(whole, str):
            self.searched(whole, part)
        elif isinstance(whole, dict):
            self.sized(part if isinstance(part, tuple) else "")
        else:
            self.sized(whole)
        return part in whole

    def mapping(self, *pairs: tuple[Any, Any]) -> dict[Any, Any]:
        """{key: value}"""
        for key, _ in pairs:
            self.sized(key if isinstance(key, tuple) else "")
        found = dict(pairs)
        self.spend(self.weigh(found))
        return found

    def searched(self, text: str, part: Any, *, backwards: bool = False) -> None:
        """Pays for a search: Python's is linear forwards, but for short parts, and not backwards."""
        width = len(part) if isinstance(part, str) else 1
        self.spend(len(text) * (width if backwards else min(width, 100)) >> 8)


class Counted:
    """An iterator whose every element is paid for."""

    __slots__ = ("_context", "_depth", "_items")

    def __init__(self, context: BoundedContext, items: Iterator[Any]) -> None:
        self._context = context
        self._items = items
        self._depth = 1

    def inside(self, other: object) -> Counted:
        """The same, made from `other`: filters over filters without end would be too deep for the stack."""
        if isinstance(other, Counted):
            self._depth = other._depth + 1
            if self._depth > DEEPEST:
                raise LimitError(f"more than {DEEPEST} filters over one another")
        return self

    def __iter__(self) -> Counted:
        return self

    def __next__(self) -> Any:
        self._context.spend(4)
        return next(self._items)


def concat(texts: Any) -> str:
    """What Jinja itself joins: the text of a block that is called by `self`."""
    parts = list(texts)
    size = sum(map(len, parts))
    if size > LARGEST:
        raise LimitError(f"a block of more than {LARGEST} characters")
    return "".join(parts)
