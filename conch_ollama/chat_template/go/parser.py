"""Tokens -> syntax trees, one per named template; the main one has the empty name.

Statements only; their pipelines are read by `pipelines.py`. Refuses what Go refuses while parsing, e.g. `break` outside
`range` or a template defined twice, with BadTemplateError naming the line.
"""

from __future__ import annotations

from collections.abc import Collection

from conch_ollama.chat_template.go import nodes
from conch_ollama.chat_template.go.lexer import Kind, Token
from conch_ollama.chat_template.go.pipelines import Frame, PipelineParser


class _End:
    """`{{end}}`, or `{{else}}` with the keyword that follows it, if any."""

    def __init__(self, is_else: bool) -> None:
        self.is_else = is_else


class Parser(PipelineParser):
    def __init__(self, source: str, functions: Collection[str]) -> None:
        super().__init__(source, functions)
        self.trees: dict[bytes, nodes.NodeList] = {}

    def parse(self) -> dict[bytes, nodes.NodeList]:
        """All templates by name. The main one is always there, under b""."""
        root = nodes.NodeList(1)
        while (token := self.peek()).kind is not Kind.EOF:
            if token.kind is Kind.LEFT:
                left = self.next()
                token = self.next_word()
                if token.kind is Kind.KEYWORD and token.text == "define":
                    self._define()
                    continue
                self.back(token)
                self.back(left)
            node = self._statement()
            if isinstance(node, _End):
                raise self.error(f"unexpected {{{{{'else' if node.is_else else 'end'}}}}}")
            root.nodes.append(node)
        self._add(b"", root)
        return self.trees

    def _add(self, name: bytes, tree: nodes.NodeList) -> None:
        old = self.trees.get(name)
        if old is None or nodes.is_empty(old):
            self.trees[name] = tree
        elif not nodes.is_empty(tree):
            raise self.error(f"multiple definition of template {name.decode('utf-8', 'replace')!r}")

    def _define(self) -> None:
        name = self._template_name(self.next_word(), "define clause")
        self.expect(Kind.RIGHT, "define clause")
        self._nested(name, "define clause")

    def _nested(self, name: bytes, context: str) -> None:
        outer, self.frame = self.frame, Frame()
        body, end = self._list()
        self.frame = outer
        if end.is_else:
            raise self.error(f"unexpected {{{{else}}}} in {context}")
        self._add(name, body)

    def _template_name(self, token: Token, context: str) -> bytes:
        if token.kind not in (Kind.STRING, Kind.RAW_STRING):
            raise self.unexpected(token, context)
        return self.unquote_token(token)

    def _list(self) -> tuple[nodes.NodeList, _End]:
        body = nodes.NodeList(self.peek_word().line)
        self.deeper()
        while self.peek_word().kind is not Kind.EOF:
            node = self._statement()
            if isinstance(node, _End):
                self.depth -= 1
                return body, node
            body.nodes.append(node)
        raise self.error("unexpected end of file: an {{end}} is missing")

    def _statement(self) -> nodes.Statement | _End:
        token = self.next_word()
        if token.kind is Kind.TEXT:
            return nodes.Text(token.line, token.text.encode("utf-8", "surrogatepass"))
        if token.kind is Kind.LEFT:
            return self._action()
        raise self.unexpected(token, "input")

    def _action(self) -> nodes.Statement | _End:  # noqa: PLR0911 one return for each keyword is the clearest table
        token = self.next_word()
        line = token.line
        match token.text if token.kind is Kind.KEYWORD else "":
            case "block":
                return self._block()
            case "break" | "continue":
                return self._jump(token)
            case "else":
                if self.peek_word().text not in ("if", "with"):
                    self.expect(Kind.RIGHT, "else")
                return _End(True)
            case "end":
                self.expect(Kind.RIGHT, "end")
                return _End(False)
            case "if":
                return nodes.If(line, *self._branch("if"))
            case "range":
                return nodes.Range(line, *self._branch("range"))
            case "with":
                return nodes.With(line, *self._branch("with"))
            case "template":
                return self._template_call()
        self.back(token)
        return nodes.Action(line, self.pipeline("command", Kind.RIGHT))

    def _jump(self, token: Token) -> nodes.Break | nodes.Continue:
        following = self.next_word()
        if following.kind is not Kind.RIGHT:
            raise self.unexpected(following, f"{{{{{token.text}}}}}")
        if not self.frame.range_depth:
            raise self.error(f"{{{{{token.text}}}}} outside {{{{range}}}}")
        return (nodes.Break if token.text == "break" else nodes.Continue)(token.line)

    def _branch(self, context: str) -> tuple[nodes.Pipe, nodes.NodeList, nodes.NodeList | None]:
        known = len(self.frame.variables)
        pipe = self.pipeline(context, Kind.RIGHT)
        self.frame.range_depth += context == "range"
        body, end = self._list()
        self.frame.range_depth -= context == "range"
        otherwise: nodes.NodeList | None = None
        if end.is_else:
            otherwise = self._otherwise(context)
        del self.frame.variables[known:]
        return pipe, body, otherwise

    def _otherwise(self, context: str) -> nodes.NodeList:
        """`{{else if}}` and `{{else with}}` are a branch of the same kind alone in the else part; its end is both's."""
        token = self.peek()
        if context in ("if", "with") and token.kind is Kind.KEYWORD and token.text == context:
            self.next()
            branch = nodes.If if context == "if" else nodes.With
            return nodes.NodeList(token.line, [branch(token.line, *self._branch(context))])
        otherwise, end = self._list()
        if end.is_else:
            raise self.error("expected {{end}}; found {{else}}")
        return otherwise

    def _block(self) -> nodes.TemplateCall:
        token = self.next_word()
        name = self._template_name(token, "block clause")
        pipe = self.pipeline("block clause", Kind.RIGHT)
        self._nested(name, "block clause")
        return nodes.TemplateCall(token.line, name, pipe)

    def _template_call(self) -> nodes.TemplateCall:
        token = self.next_word()
        name = self._template_name(token, "template clause")
        following = self.next_word()
        if following.kind is Kind.RIGHT:
            return nodes.TemplateCall(token.line, name, None)
        self.back(following)
        return nodes.TemplateCall(token.line, name, self.pipeline("template clause", Kind.RIGHT))
