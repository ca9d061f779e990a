"""A parsed Go template: parse once, execute often.

`functions` adds to the builtins, as Go's Funcs does; which ones Ollama adds is `ollama_render.py`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping

from conch_ollama.chat_template.go import nodes
from conch_ollama.chat_template.go.builtins import BUILTINS, Function
from conch_ollama.chat_template.go.evaluator import Limits
from conch_ollama.chat_template.go.executor import Executor
from conch_ollama.chat_template.go.parser import Parser
from conch_ollama.chat_template.go.values import Value
from conch_ollama.errors import BadTemplateError

#: Characters; the longest TEMPLATE known has some 15,000.
LONGEST_SOURCE = 1 << 17


class GoTemplate:
    """Raises BadTemplateError on what Go refuses to parse. `trees` holds every template by name, the main one b""."""

    def __init__(self, source: str, functions: Mapping[str, Function] | None = None) -> None:
        self.source = source
        if len(source) > LONGEST_SOURCE:
            raise BadTemplateError(f"Go template: {len(source)} characters of source, {LONGEST_SOURCE} are allowed")
        self.functions = {**BUILTINS, **(functions or {})}
        try:
            self.trees: dict[bytes, nodes.NodeList] = Parser(source, self.functions).parse()
        except RecursionError as err:
            raise BadTemplateError("Go template: nested too deeply") from err

    @property
    def root(self) -> nodes.NodeList:
        return self.trees[b""]

    def execute(self, data: Value, limits: Limits = Limits()) -> bytes:  # noqa: B008 frozen
        """What the template writes for `data`. Raises BadTemplateError where Go would, or past a limit."""
        return execute(self.trees, data, self.functions, limits)


def execute(
    trees: Mapping[bytes, nodes.NodeList],
    data: Value,
    functions: Mapping[str, Function],
    limits: Limits,
    *,
    missing_is_zero: bool = True,
) -> bytes:
    """`missing_is_zero`: the option missingkey=zero, by which a field of a missing variable is an error."""
    try:
        return Executor(trees, functions, limits, missing_is_zero).run(data)
    except RecursionError as err:
        raise BadTemplateError("Go template: nested too deeply") from err
