"""What Ollama reads from a template's syntax tree before and beside running it.

Which variables it names (that decides how it is run, and its capabilities), the tags around a thought, the tag in front
of a tool call, and the tree with everything after the last answer cut off. Source: template/template.go,
thinking/template.go and tools/template.go of Ollama 0.9.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from conch_ollama.chat_template.go import nodes
from conch_ollama.errors import BadTemplateError


def variables(trees: Sequence[nodes.NodeList]) -> set[str]:
    """The identifiers of all fields and variables, in lower case. Refuses `{{ template "x" }}` without a value."""
    return {name.lower() for tree in trees for name in _names(tree)}


def _names(node: nodes.NodeList | nodes.Statement | nodes.Operand) -> Iterator[str]:
    match node:
        case nodes.NodeList():
            for child in node.nodes:
                yield from _names(child)
        case nodes.TemplateCall():
            if node.pipe is None:
                raise BadTemplateError(
                    f"Go template, line {node.line}: Ollama fails on a template call without a value",
                    hint='write {{ template "name" . }}',
                )
            yield from _names(node.pipe)
        case nodes.Action():
            yield from _names(node.pipe)
        case nodes.Branch():
            yield from _names(node.pipe)
            yield from _names(node.body)
            if node.otherwise is not None:
                yield from _names(node.otherwise)
        case nodes.Pipe():
            for command in node.commands:
                for operand in command.operands:
                    yield from _names(operand)
        case nodes.Field() | nodes.Variable():
            yield from node.names


class _Cut:
    """The copy of a tree that Ollama runs for the last turn on the legacy path: nothing after the first `.Response`."""

    def __init__(self) -> None:
        self.cut = False

    def _gone(self, node: object) -> bool:
        if isinstance(node, nodes.Field) and "Response" in node.names:
            self.cut = True
            return False
        return self.cut

    def list(self, tree: nodes.NodeList) -> nodes.NodeList | None:
        if self._gone(tree):
            return None
        kept = [copy for node in tree.nodes if (copy := self._statement(node)) is not None]
        return replace(tree, nodes=kept)

    def _statement(self, node: nodes.Statement) -> nodes.Statement | None:
        if self._gone(node):
            return None
        if isinstance(node, nodes.Action):
            pipe = self._pipe(node.pipe)
            return None if pipe is None else replace(node, pipe=pipe)
        if isinstance(node, nodes.If | nodes.With | nodes.Range):
            body = self.list(node.body)
            otherwise = self.list(node.otherwise) if node.otherwise is not None else None
            if body is None or (node.otherwise is not None and otherwise is None):
                raise BadTemplateError(
                    f"Go template, line {node.line}: Ollama fails on an else after .Response",
                    hint="range over .Messages instead of using .Prompt and .Response",
                )
            return replace(node, body=body, otherwise=otherwise)
        return node

    def _pipe(self, pipe: nodes.Pipe) -> nodes.Pipe | None:
        if self._gone(pipe):
            return None
        commands = []
        for command in pipe.commands:
            operands = [copy for operand in command.operands if (copy := self._operand(operand)) is not None]
            if not operands:
                return None
            commands.append(replace(command, operands=operands))
        return replace(pipe, commands=commands)

    def _operand(self, operand: nodes.Operand) -> nodes.Operand | None:
        if isinstance(operand, nodes.Pipe):
            return self._pipe(operand)
        return None if self._gone(operand) else operand


def cut_after_response(tree: nodes.NodeList) -> nodes.NodeList:
    copy = _Cut().list(tree)
    return tree if copy is None else copy


def thinking_tags(tree: nodes.NodeList) -> tuple[str, str]:
    """The texts before and after `.Thinking` inside a range over `.Messages`; empty where they can't be inferred."""
    tags = ["", ""]
    for parents in _paths(tree, ()):
        field = parents[-1]
        if not isinstance(field, nodes.Field) or field.names[0] != "Thinking":
            continue
        ranges = [node for node in parents if isinstance(node, nodes.Range)]
        if not ranges or not any(name == "Messages" for name in _first_names(ranges[-1].pipe)):
            continue
        around = [node for node in parents if isinstance(node, nodes.NodeList)][-1].nodes
        for at, node in ((0, around[0]), (1, around[-1])):
            if isinstance(node, nodes.Text):
                tags[at] = node.text.decode("utf-8", "surrogateescape").strip()
    return tags[0], tags[1]


def _first_names(pipe: nodes.Pipe) -> Iterator[str]:
    for path in _paths(pipe, ()):
        if isinstance(path[-1], nodes.Field):
            yield path[-1].names[0]


def _paths(node: nodes.Node, parents: tuple[nodes.Node, ...]) -> Iterator[tuple[nodes.Node, ...]]:
    """Every node that Ollama's visitor enters, with its ancestors, in its order."""
    path = (*parents, node)
    yield path
    children: list[nodes.Node] = []
    match node:
        case nodes.NodeList():
            children = list(node.nodes)
        case nodes.Branch():
            children = [node.pipe, node.body, *([node.otherwise] if node.otherwise is not None else [])]
        case nodes.Action():
            children = [node.pipe]
        case nodes.TemplateCall():
            children = [node.pipe] if node.pipe is not None else []
        case nodes.Pipe():
            children = list(node.commands)
        case nodes.Command():
            children = list(node.operands)
    for child in children:
        yield from _paths(child, path)


def tool_call_tag(tree: nodes.NodeList) -> str:
    """The text that a tool call begins with; `{` where there is none."""
    found = _tool_call_branch(tree.nodes)
    text = _first_text(found.body.nodes) if found is not None else None
    tag = text.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape").partition("{")[0].strip() if text else ""
    return tag or "{"


def _tool_call_branch(statements: Sequence[nodes.Statement]) -> nodes.If | None:
    for node in statements:
        if not isinstance(node, nodes.Branch):
            continue
        operands = [operand for command in node.pipe.commands for operand in command.operands]
        if isinstance(node, nodes.If) and any(
            isinstance(operand, nodes.Field) and "ToolCalls" in operand.names for operand in operands
        ):
            return node
        for part in (node.body, node.otherwise):
            if part is not None and (found := _tool_call_branch(part.nodes)) is not None:
                return found
    return None


def _first_text(statements: Sequence[nodes.Statement]) -> bytes | None:
    for node in statements:
        if isinstance(node, nodes.Text) and node.text.strip():
            return node.text
        if isinstance(node, nodes.Branch):
            for part in (node.body, node.otherwise):
                if part is not None and (text := _first_text(part.nodes)) is not None:
                    return text
            return None
        if isinstance(node, nodes.Action):
            return None
    return None
