"""Runs the statements of a parsed Go template over a value and collects the bytes it writes.

Pipelines are evaluated by `evaluator.py`. Bounded: so many steps, bytes and nested templates, since a template is a
stranger's program. Every failure is a BadTemplateError that names the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from conch_ollama.chat_template.go import nodes
from conch_ollama.chat_template.go.builtins import Function, printable
from conch_ollama.chat_template.go.evaluator import Evaluator, Limits
from conch_ollama.chat_template.go.printing import show
from conch_ollama.chat_template.go.values import Map, Slice, Value, indirect, string_method, truth, type_name


class _BreakError(Exception):
    pass


class _ContinueError(Exception):
    pass


class Executor(Evaluator):
    def __init__(
        self,
        trees: Mapping[bytes, nodes.NodeList],
        functions: Mapping[str, Function],
        limits: Limits,
        missing_is_zero: bool,
    ) -> None:
        super().__init__(functions, limits, missing_is_zero)
        self.trees = trees
        self.size = 0
        self.depth = 0
        self.out: list[bytes] = []

    def run(self, data: Value) -> bytes:
        self.variables = [("$", data)]
        self._walk_list(data, self.trees[b""])
        return b"".join(self.out)

    def _write(self, node: nodes.Node, text: bytes) -> None:
        self.size += len(text)
        if self.size > self.limits.output:
            raise self.error(node, f"more than {self.limits.output} bytes of output")
        self.out.append(text)

    def _walk_list(self, dot: Value, statements: nodes.NodeList) -> None:
        for node in statements.nodes:
            self.steps += 1
            if self.steps > self.limits.steps:
                raise self.stopped(node)
            match node:
                case nodes.Action():
                    value = self.pipeline(dot, node.pipe)
                    if not node.pipe.declared:
                        self._print(node, value)
                case nodes.Text():
                    self._write(node, node.text)
                case nodes.If() | nodes.With():
                    self._branch(dot, node)
                case nodes.Range():
                    self._range(dot, node)
                case nodes.TemplateCall():
                    self._template(dot, node)
                case nodes.Break():
                    raise _BreakError
                case nodes.Continue():
                    raise _ContinueError

    def _print(self, node: nodes.Action, value: Value) -> None:
        text = value if isinstance(value, bytes) else string_method(indirect(value), by_address=True)
        self._write(node, show(printable(value)) if text is None else text)

    def _branch(self, dot: Value, node: nodes.If | nodes.With) -> None:
        mark = len(self.variables)
        try:
            value = self.pipeline(dot, node.pipe)
            if truth(value):
                self._walk_list(value if isinstance(node, nodes.With) else dot, node.body)
            elif node.otherwise is not None:
                self._walk_list(dot, node.otherwise)
        finally:
            del self.variables[mark:]

    def _range(self, dot: Value, node: nodes.Range) -> None:
        outer = len(self.variables)
        try:
            pairs = self._pairs(node, indirect(self.pipeline(dot, node.pipe)))
            mark = len(self.variables)
            empty = True
            for index, element in pairs:
                empty = False
                self.steps += 1
                if self.steps > self.limits.steps:
                    raise self.stopped(node)
                self._assign_loop(node.pipe, index, element)
                try:
                    self._walk_list(element, node.body)
                except _ContinueError:
                    pass
                finally:
                    del self.variables[mark:]
            if empty and node.otherwise is not None:
                self._walk_list(dot, node.otherwise)
        except _BreakError:
            pass
        finally:
            del self.variables[outer:]

    def _pairs(self, node: nodes.Range, value: Value) -> Iterable[tuple[Value, Value]]:
        match value:
            case None:
                return []
            case bool():
                pass
            case int():
                if len(node.pipe.declared) > 1:
                    raise self.error(node, "can't use an integer to iterate over more than one variable")
                kind = type(value)
                return ((None, kind(number)) for number in range(value))
            case Slice():
                return enumerate(value.items)
            case Map():
                return ((key, value.items[key]) for key in value.sorted_keys)
        raise self.error(node, f"range can't iterate over a value of type {type_name(value)}")

    def _assign_loop(self, pipe: nodes.Pipe, index: Value, element: Value) -> None:
        """With two variables the index comes first; with one it is the element."""
        values = [element] if len(pipe.declared) == 1 else [index, element]
        for place, (variable, value) in enumerate(zip(pipe.declared, values, strict=False)):
            if pipe.assigns:
                self.assign(variable, value)
            else:
                at = len(self.variables) - len(pipe.declared) + place
                self.variables[at] = (variable.names[0], value)

    def _template(self, dot: Value, node: nodes.TemplateCall) -> None:
        tree = self.trees.get(node.name)
        if tree is None:
            raise self.error(node, f"template {node.name.decode('utf-8', 'replace')!r} not defined")
        if self.depth >= self.limits.depth:
            raise self.error(node, f"more than {self.limits.depth} templates inside one another")
        data = self.pipeline(dot, node.pipe) if node.pipe is not None else None
        outer, self.variables = self.variables, [("$", data)]
        self.depth += 1
        self._walk_list(data, tree)
        self.depth -= 1
        self.variables = outer
