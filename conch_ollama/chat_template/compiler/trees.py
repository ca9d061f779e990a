"""Small decision trees: what stands at a message's place, by a few features of that place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)
V = TypeVar("V", bound=Hashable)

#: first, last: of its role; final: the last message of all; prefilled: the conversation ends with an answer; system:
#: there is a system text (and the template does not take it for absent); empty, blank: it is, and that has rules apart.
#: unasked: every question is a wrapped tool result, so that some templates see none (told of the last answer only).
#: fresh: an answer that no question follows but such.
#: tools: some are declared.
FEATURES = ("tools", "final", "first", "system", "last", "prefilled", "empty", "blank", "unasked", "fresh")
Place = frozenset[str]


@dataclass(frozen=True)
class Leaf(Generic[T]):
    value: T


@dataclass(frozen=True)
class Branch(Generic[T]):
    feature: str
    yes: Leaf[T] | Branch[T]
    no: Leaf[T] | Branch[T]


Tree = Leaf[T] | Branch[T]


def grow(rows: Mapping[Place, T]) -> Tree[T] | None:
    """A small tree that says of each place what stands there; None if the features do not decide it."""
    values = set(rows.values())
    if len(values) == 1:
        return Leaf(values.pop())
    splits: list[tuple[int, int, str]] = []
    for order, feature in enumerate(FEATURES):
        yes = {value for place, value in rows.items() if feature in place}
        no = {value for place, value in rows.items() if feature not in place}
        if yes and no:
            splits.append((len(yes) + len(no), order, feature))
    for _, _, feature in sorted(splits):
        yes_tree = grow({place: value for place, value in rows.items() if feature in place})
        no_tree = grow({place: value for place, value in rows.items() if feature not in place})
        if yes_tree is not None and no_tree is not None:
            return Branch(feature, yes_tree, no_tree)
    return None


def leaves(tree: Tree[T], path: tuple[tuple[str, bool], ...] = ()) -> Iterator[tuple[tuple[tuple[str, bool], ...], T]]:
    """Every value with the features that lead to it."""
    if isinstance(tree, Leaf):
        yield path, tree.value
    else:
        yield from leaves(tree.yes, (*path, (tree.feature, True)))
        yield from leaves(tree.no, (*path, (tree.feature, False)))


def changed(tree: Tree[T], change: Callable[[T], V]) -> Tree[V]:
    """The same decisions about other values; decisions that no longer decide anything go."""
    if isinstance(tree, Leaf):
        return Leaf(change(tree.value))
    yes, no = changed(tree.yes, change), changed(tree.no, change)
    return yes if yes == no and isinstance(yes, Leaf) else Branch(tree.feature, yes, no)
