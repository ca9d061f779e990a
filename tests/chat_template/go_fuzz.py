"""Random templates, run by our interpreter and by Go: what differs, and what of the language they reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.chat_template.compare import difference
from tests.chat_template.oracle import judge
from tests.chat_template.oracle.generate import Generator

#: Nodes, builtins and kinds of operands that any run must reach.
MUST_OCCUR = (
    *("text", "action", "comment", "declare", "assign", "if", "else", "else if", "with", "else with", "range str"),
    *("range int", "range map", "range any", "range message", "range tool", "break", "continue", "template", "block"),
    *("and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "eq many", "len", "index", "slice", "print", "printf"),
    *("println", "html", "js", "urlquery", "json", "pipe", "paren", "raw string", "missing", "nested", "variable"),
)


@dataclass(frozen=True)
class Fuzzed:
    """`printed`: cases with an output that is not empty; `errors`: those that Go refuses or that fail; `used`: how many
    of each node, builtin and kind of operand there were."""

    cases: int
    seed: int
    differences: tuple[str, ...]
    printed: int
    errors: int
    used: Mapping[str, int]

    def check(self) -> None:
        """Assert that nothing differs, and that the run was worth something."""
        assert not self.differences, "\n".join(self.differences[:5])
        assert self.printed >= self.cases / 2
        assert self.errors >= self.cases / 10
        assert not [name for name in MUST_OCCUR if not self.used.get(name)]

    def __str__(self) -> str:
        reached = ", ".join(f"{name} {count}" for name, count in sorted(self.used.items()))
        return (
            f"seed {self.seed}: {self.cases} cases, {self.printed} printed something, {self.errors} failed in Go, "
            f"{len(self.differences)} differ; reached: {reached}"
        )


def fuzz(cases: int, seed: int) -> Fuzzed:
    """So many random templates of one seed."""
    generator = Generator(seed)
    made = [generator.case() for _ in range(cases)]
    verdicts = judge(made)
    found = [difference(case, verdict) for case, verdict in zip(made, verdicts, strict=True)]
    printed = sum(bool(verdict.output) for verdict in verdicts)
    errors = sum(verdict.output is None for verdict in verdicts)
    return Fuzzed(cases, seed, tuple(filter(None, found)), printed, errors, dict(generator.used))
