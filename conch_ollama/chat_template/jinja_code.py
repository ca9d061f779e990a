"""Compiles a chat template so that its loops, macros and blocks count their work (see `jinja_limits.py`).

Jinja's own code generator, with another word here and there. What has no place in a chat template is refused by name:
other templates (`include`, `import`, `extends`) and autoescaping.
"""

# ruff: noqa: N802 the names are those of Jinja's node types
from __future__ import annotations

from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame

#: Units of entering a macro, which takes longer than other parts.
_MACRO = 16
_REPEATED = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)


def prepare(tree: nodes.Template) -> int:
    """Puts the counting into every loop, macro and block of the tree; returns the tree's own size in units."""
    return _counted(tree)


def _counted(node: nodes.Node) -> int:
    size = _MACRO if isinstance(node, nodes.Macro | nodes.CallBlock | nodes.Block) else 1
    for child in node.iter_child_nodes():
        size += _counted(child)
    if isinstance(node, _REPEATED):
        node.body.insert(0, nodes.ExprStmt(_spending(size)).set_lineno(node.lineno))
    if isinstance(node, nodes.For) and node.test is not None:
        node.test = nodes.And(_spending(size), node.test).set_lineno(node.lineno)
    return size


def _spending(units: int) -> nodes.Expr:
    # Jinja's node types are closed: this one, which templates can't write, is lent.
    node = nodes.ContextReference()
    setattr(node, "units", units)  # noqa: B010 the type has no such attribute
    return node


def _is_constant(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) or (
        isinstance(node, nodes.List | nodes.Tuple) and all(isinstance(item, nodes.Const) for item in node.items)
    )


class BoundedCode(CodeGenerator):
    def visit_ContextReference(self, node: nodes.ContextReference, frame: Frame) -> None:
        self.write(f"context.spend({getattr(node, 'units')})")  # noqa: B009

    def write_commons(self) -> None:
        super().write_commons()
        self.writeline("concat = context.concat")

    def _wrapped(self, method: str, node: nodes.Node, frame: Frame, visit: Any = None) -> None:
        self.write(f"context.{method}(")
        (visit or self.visit)(node, frame)
        self.write(")")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        operands = [node.expr, *(one.expr for one in node.ops)]
        if len(operands) == 2 and node.ops[0].op in ("in", "notin"):
            if not _is_constant(operands[1]):
                self.write("(not " if node.ops[0].op == "notin" else "(")
                self.write("context.within(")
                self.visit(operands[0], frame)
                self.write(", ")
                self.visit(operands[1], frame)
                self.write("))")
                return
        elif not (len(operands) == 2 and any(isinstance(one, nodes.Const) for one in operands)):
            self.write("(")
            self._wrapped("sized", node.expr, frame)
            for operand in node.ops:
                if operand.op in ("in", "notin"):
                    self.fail("`in` in a chain of comparisons is not offered", node.lineno)
                self.write(f" {_OPERATORS[operand.op]} ")
                self._wrapped("sized", operand.expr, frame)
            self.write(")")
            return
        super().visit_Compare(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("context.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        if _is_constant(node):
            super().visit_List(node, frame)
        else:
            self._wrapped("made", node, frame, super().visit_List)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "store" or _is_constant(node):
            super().visit_Tuple(node, frame)
        else:
            self._wrapped("made", node, frame, super().visit_Tuple)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("context.mapping(")
        for pair in node.items:
            self.write("(")
            self.visit(pair.key, frame)
            self.write(", ")
            self.visit(pair.value, frame)
            self.write("), ")
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if isinstance(node.arg, nodes.Slice):
            self._wrapped("made", node, frame, super().visit_Getitem)
        else:
            super().visit_Getitem(node, frame)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write("context.shown(")

    # -- what is refused

    def _refuse(self, word: str, node: nodes.Node) -> NoReturn:
        self.fail(f"{{% {word} %}} is not offered: a chat template stands alone", node.lineno)

    def visit_Include(self, node: nodes.Include, frame: Frame) -> None:
        self._refuse("include", node)

    def visit_Import(self, node: nodes.Import, frame: Frame) -> None:
        self._refuse("import", node)

    def visit_FromImport(self, node: nodes.FromImport, frame: Frame) -> None:
        self._refuse("from", node)

    def visit_Extends(self, node: nodes.Extends, frame: Frame) -> None:
        self._refuse("extends", node)

    def visit_ScopedEvalContextModifier(self, node: nodes.ScopedEvalContextModifier, frame: Frame) -> None:
        self._refuse("autoescape", node)


_OPERATORS = {"eq": "==", "ne": "!=", "gt": ">", "gteq": ">=", "lt": "<", "lteq": "<="}
