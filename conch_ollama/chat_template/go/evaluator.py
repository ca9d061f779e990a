"""Evaluates the pipelines of a Go template: operands, fields, variables, function calls.

Statements are run by `executor.py`, which builds on this. Every failure is a BadTemplateError that names the line.
Source: the documentation and behaviour of Go's text/template, with `missingkey=zero` as Ollama sets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from conch_ollama.chat_template.go import nodes
from conch_ollama.chat_template.go.builtins import CallError, Function, Parameter
from conch_ollama.chat_template.go.values import (
    NIL,
    Map,
    Nil,
    Pointer,
    Struct,
    Value,
    indirect,
    string_method,
    truth,
    type_name,
)
from conch_ollama.errors import BadTemplateError


@dataclass(frozen=True, slots=True)
class Limits:
    """`steps` counts nodes and commands, and what functions work on; `output` and `value` are bytes; `depth`
    templates inside templates. The defaults end in half a second at the worst; a few thousand steps are usual."""

    steps: int = 500_000
    output: int = 16 << 20
    value: int = 4 << 20
    depth: int = 60

    def allowing_for(self, size: int) -> Limits:
        """More of them for a conversation of `size` characters."""
        return replace(self, steps=self.steps + 6 * size, output=self.output + 8 * size, value=self.value + 8 * size)


#: Characters of a message: what a template is about may be long.
LONGEST_FAULT = 500
#: Bytes that a function works on for nothing; of more, so many and one are a step.
_FREE = 63


class _Missing:
    """No value comes down the pipeline."""


_MISSING = _Missing()


class Evaluator:
    def __init__(self, functions: Mapping[str, Function], limits: Limits, missing_is_zero: bool) -> None:
        self.functions = functions
        self.limits = limits
        self.missing_is_zero = missing_is_zero
        self.steps = 0
        self.variables: list[tuple[str, Value]] = []

    def error(self, node: nodes.Node, what: str) -> BadTemplateError:
        return BadTemplateError(f"Go template, line {node.line}: {what[:LONGEST_FAULT]}")

    def stopped(self, node: nodes.Node) -> BadTemplateError:
        """What is raised when the steps are spent; they are counted where they are made, which is where time goes."""
        return self.error(node, f"stopped after {self.limits.steps} steps")

    def assign(self, variable: nodes.Variable, value: Value) -> None:
        for at in range(len(self.variables) - 1, -1, -1):
            if self.variables[at][0] == variable.names[0]:
                self.variables[at] = (variable.names[0], value)
                return
        raise self.error(variable, f"undefined variable: {variable.names[0]}")

    def lookup(self, variable: nodes.Variable) -> Value:
        for name, value in reversed(self.variables):
            if name == variable.names[0]:
                return value
        raise self.error(variable, f"undefined variable: {variable.names[0]}")

    # -- pipelines

    def pipeline(self, dot: Value, pipe: nodes.Pipe) -> Value:
        value: Value | _Missing = _MISSING
        for command in pipe.commands:
            self.steps += 1
            if self.steps > self.limits.steps:
                raise self.stopped(command)
            value = self._command(dot, command, value)
            if value is NIL:
                value = None
        result = None if isinstance(value, _Missing) else value
        for variable in pipe.declared:
            if pipe.assigns:
                self.assign(variable, result)
            else:
                self.variables.append((variable.names[0], result))
        return result

    def _command(self, dot: Value, command: nodes.Command, final: Value | _Missing) -> Value:
        first = command.operands[0]
        if isinstance(first, nodes.Identifier):
            return self._function(dot, first, command.operands[1:], final)
        has_arguments = len(command.operands) > 1 or final is not _MISSING
        if isinstance(first, nodes.Field | nodes.Chain | nodes.Variable):
            return self._operand(dot, first, has_arguments)
        if has_arguments:
            raise self.error(first, "can't give argument to non-function")
        if isinstance(first, nodes.Nil):
            raise self.error(first, "nil is not a command")
        return self._operand(dot, first)

    def _operand(self, dot: Value, node: nodes.Operand, has_arguments: bool = False) -> Value:  # noqa: PLR0911 a table
        kind = type(node)  # compared by identity: most of a rendering's time goes by here
        if kind is nodes.String or kind is nodes.Bool:
            return node.value  # type: ignore[union-attr]
        match node:
            case nodes.Variable():
                if len(node.names) > 1:
                    return self._fields(node, self.lookup(node), node.names[1:], has_arguments)
                if has_arguments:
                    raise self.error(node, f"can't give argument to non-function {node.names[0]}")
                return self.lookup(node)
            case nodes.Pipe():
                return self.pipeline(dot, node)
            case nodes.Field():
                return self._fields(node, dot, node.names, has_arguments)
            case nodes.Number():
                return self._constant(node)
            case nodes.String() | nodes.Bool():
                return node.value
            case nodes.Dot():
                return dot
            case nodes.Chain():
                return self._fields(node, self._operand(dot, node.operand), node.names, has_arguments)
            case nodes.Identifier():
                return self._function(dot, node, [], _MISSING)
            case nodes.Nil():
                return None

    def _constant(self, node: nodes.Number) -> Value:
        if node.constant is None:
            raise self.error(node, f"{node.text} overflows int")
        return node.constant

    # -- fields

    def _fields(self, node: nodes.Node, receiver: Value, names: Sequence[str], has_arguments: bool) -> Value:
        for at, name in enumerate(names):
            receiver = self._field(node, receiver, name, has_arguments and at == len(names) - 1)
        return receiver

    def _field(self, node: nodes.Node, receiver: Value, name: str, has_arguments: bool) -> Value:
        if receiver is None:
            return None
        if isinstance(receiver, Nil) or (isinstance(receiver, Pointer) and receiver.target is None):
            raise self.error(node, f"nil pointer evaluating {type_name(receiver)}.{name}")
        value = indirect(receiver)
        if name == "String":
            text = string_method(receiver, by_address=True)
            if text is not None:
                if has_arguments:
                    raise self.error(node, "wrong number of args for String")
                return text
        if isinstance(value, Struct) and name in value.values:
            found: Value = value.values[name]
        elif isinstance(value, Map):
            missing = value.zero if self.missing_is_zero else None
            found = value.items.get(name.encode("utf-8", "surrogatepass"), missing)
        else:
            raise self.error(node, f"can't evaluate field {name} in type {type_name(receiver)}")
        if has_arguments:
            raise self.error(node, f"{name} has arguments but is not a function")
        return found

    # -- functions

    def _function(
        self, dot: Value, node: nodes.Identifier, arguments: Sequence[nodes.Operand], final: Value | _Missing
    ) -> Value:
        function = self.functions.get(node.name)
        if function is None:
            raise self.error(node, f"{node.name!r} is not a defined function")
        count = len(arguments) + (final is not _MISSING)
        fixed = len(function.fixed)
        if count < fixed or (function.variadic is None and count > fixed):
            raise self.error(node, f"wrong number of args for {node.name}: want {fixed} got {count}")
        if node.name in ("and", "or"):
            return self._short_circuit(dot, node.name, arguments, final)
        if Parameter.STRING in (*function.fixed, function.variadic):
            kinds = [*function.fixed, *[function.variadic or Parameter.ANY] * (count - fixed)]
            values = [self._argument(dot, kind, operand) for kind, operand in zip(kinds, arguments, strict=False)]
            if not isinstance(final, _Missing):
                values.append(self._checked(node, kinds[-1], final))
        else:
            values = [one.value if type(one) is nodes.String else self._operand(dot, one) for one in arguments]
            if not isinstance(final, _Missing):
                values.append(final)
        size = 0
        for value in values:
            if type(value) is bytes:
                size += len(value)
        if size > _FREE:
            self._pay(node, size)
        try:
            made = function.call(*values)
        except CallError as err:
            raise self.error(node, f"error calling {node.name}: {err}") from err
        if type(made) is bytes and len(made) > _FREE:
            self._pay(node, len(made))
        return made

    def _pay(self, node: nodes.Identifier, size: int) -> None:
        """For the texts that a function works on or makes."""
        if size > self.limits.value:
            raise self.error(node, f"{node.name} of more than {self.limits.value} bytes")
        self.steps += size // (_FREE + 1)

    def _short_circuit(
        self, dot: Value, name: str, arguments: Sequence[nodes.Operand], final: Value | _Missing
    ) -> Value:
        value: Value = None
        for operand in arguments:
            value = self._operand(dot, operand)
            if truth(value) == (name == "or"):
                return value
        return value if isinstance(final, _Missing) else final

    def _argument(self, dot: Value, kind: Parameter, node: nodes.Operand) -> Value:
        if kind is Parameter.STRING and isinstance(node, nodes.Nil | nodes.Bool | nodes.Number):
            raise self.error(node, "expected string")
        return self._checked(node, kind, self._operand(dot, node))

    def _checked(self, node: nodes.Node, kind: Parameter, value: Value) -> Value:
        if kind is Parameter.STRING and not isinstance(value, bytes):
            raise self.error(node, f"wrong type for value; expected string; got {type_name(value)}")
        return value
