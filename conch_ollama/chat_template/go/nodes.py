"""The syntax tree of a Go template: one frozen-shape class per node of text/template/parse.

Only data. Ollama looks at the tree as well as running it (which fields are named, which text stands next to
`.Thinking`), so the shapes follow Go's: text, actions, branches, pipelines, commands and their operands.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Node:
    line: int


@dataclass(slots=True)
class Text(Node):
    text: bytes


@dataclass(slots=True)
class Bool(Node):
    value: bool


@dataclass(slots=True)
class Dot(Node):
    pass


@dataclass(slots=True)
class Nil(Node):
    pass


@dataclass(slots=True)
class Number(Node):
    """A constant. `is_*` say which Go types it fits; `value` is the number, and `constant` what it is where no type is
    asked for: None where that would be an int and it fits none."""

    text: str
    value: int | float | complex
    is_int: bool
    is_uint: bool
    is_float: bool
    is_complex: bool
    constant: int | float | complex | None


@dataclass(slots=True)
class String(Node):
    value: bytes


@dataclass(slots=True)
class Identifier(Node):
    name: str


@dataclass(slots=True)
class Field(Node):
    """`.A.B`: names without their dots."""

    names: list[str]


@dataclass(slots=True)
class Variable(Node):
    """`$x.A.B`: the first name carries its dollar sign."""

    names: list[str]


@dataclass(slots=True)
class Chain(Node):
    """`(pipeline).A.B` or `function.A`."""

    operand: Operand
    names: list[str]


@dataclass(slots=True)
class Command(Node):
    operands: list[Operand] = field(default_factory=list)


@dataclass(slots=True)
class Pipe(Node):
    commands: list[Command] = field(default_factory=list)
    declared: list[Variable] = field(default_factory=list)
    assigns: bool = False


Operand = Bool | Dot | Nil | Number | String | Identifier | Field | Variable | Chain | Pipe


@dataclass(slots=True)
class NodeList(Node):
    nodes: list[Statement] = field(default_factory=list)


@dataclass(slots=True)
class Action(Node):
    pipe: Pipe


@dataclass(slots=True)
class Branch(Node):
    pipe: Pipe
    body: NodeList
    otherwise: NodeList | None


@dataclass(slots=True)
class If(Branch):
    pass


@dataclass(slots=True)
class With(Branch):
    pass


@dataclass(slots=True)
class Range(Branch):
    pass


@dataclass(slots=True)
class Break(Node):
    pass


@dataclass(slots=True)
class Continue(Node):
    pass


@dataclass(slots=True)
class TemplateCall(Node):
    name: bytes
    pipe: Pipe | None


Statement = Text | Action | If | With | Range | Break | Continue | TemplateCall


def is_empty(nodes: NodeList) -> bool:
    """Nothing but white space: a definition that a later one of the same name may replace."""
    return all(isinstance(node, Text) and not node.text.strip(b"\t\n\v\f\r ") for node in nodes.nodes)
