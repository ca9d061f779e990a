"""Tokens -> pipelines: the expressions of a Go template, and the token stream with its look-ahead.

Refuses what Go refuses while parsing: unknown functions and variables, a literal in the middle of a pipeline. Raises
BadTemplateError naming the line. Source: the documentation and behaviour of Go's text/template.
"""

from __future__ import annotations

from collections.abc import Collection

from conch_ollama.chat_template.go import nodes
from conch_ollama.chat_template.go.lexer import Kind, Lexer, Token
from conch_ollama.chat_template.go.literals import parse_complex, parse_number, unquote, unquote_char, untyped_constant
from conch_ollama.errors import BadTemplateError

_OPERANDS = frozenset(
    (
        *(Kind.BOOL, Kind.CHAR_CONSTANT, Kind.COMPLEX, Kind.DOT, Kind.FIELD, Kind.IDENTIFIER, Kind.LEFT_PAREN),
        *(Kind.NUMBER, Kind.RAW_STRING, Kind.STRING, Kind.VARIABLE),
    )
)
_LITERALS = (nodes.Bool, nodes.String, nodes.Number, nodes.Nil, nodes.Dot)
# Go allows 10,000 nested parentheses; a chat template that needs more than this is an attack on the stack.
MAX_DEPTH = 100


class Frame:
    """What belongs to one template while it is parsed: `define` and `block` start afresh."""

    def __init__(self) -> None:
        self.variables = ["$"]
        self.range_depth = 0


class PipelineParser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self.stream = Lexer(source).tokens()
        self.functions = functions
        self.pending: list[Token] = []
        self.last = Token(Kind.EOF, "", 1)
        self.frame = Frame()
        self.depth = 0

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} levels of nesting")

    def next(self) -> Token:
        self.last = self.pending.pop() if self.pending else next(self.stream)
        return self.last

    def back(self, token: Token) -> None:
        self.pending.append(token)

    def peek(self) -> Token:
        token = self.next()
        self.back(token)
        return token

    def next_word(self) -> Token:
        while (token := self.next()).kind is Kind.SPACE:
            pass
        return token

    def peek_word(self) -> Token:
        token = self.next_word()
        self.back(token)
        return token

    def error(self, what: str) -> BadTemplateError:
        return BadTemplateError(f"Go template, line {self.last.line}: {what[:500]}")

    def unexpected(self, token: Token, context: str) -> BadTemplateError:
        if token.kind is Kind.ERROR:
            return self.error(token.text)
        return self.error(f"unexpected {'end of file' if token.kind is Kind.EOF else repr(token.text)} in {context}")

    def expect(self, kind: Kind, context: str) -> Token:
        token = self.next_word()
        if token.kind is not kind:
            raise self.unexpected(token, context)
        return token

    def unquote_token(self, token: Token) -> bytes:
        try:
            return unquote(token.text)
        except ValueError as err:
            raise self.error(f"{err} in {token.text}") from err

    def pipeline(self, context: str, end: Kind) -> nodes.Pipe:
        pipe = nodes.Pipe(self.peek_word().line)
        self._declarations(pipe, context)
        while True:
            token = self.next_word()
            if token.kind is end:
                break
            if token.kind not in _OPERANDS and not (token.kind is Kind.KEYWORD and token.text == "nil"):
                raise self.unexpected(token, context)
            self.back(token)
            pipe.commands.append(self._command())
        if not pipe.commands:
            raise self.error(f"missing value for {context}")
        for stage, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.operands[0], _LITERALS):
                raise self.error(f"non executable command in pipeline stage {stage}")
        return pipe

    def _declarations(self, pipe: nodes.Pipe, context: str) -> None:
        while self.peek_word().kind is Kind.VARIABLE:
            variable = self.next_word()
            adjacent = self.peek()
            following = self.peek_word()
            if following.kind in (Kind.ASSIGN, Kind.DECLARE):
                pipe.assigns = following.kind is Kind.ASSIGN
                self.next_word()
                self._declare(pipe, variable)
                return
            if following.kind is Kind.CHAR and following.text == ",":
                self.next_word()
                self._declare(pipe, variable)
                if context != "range" or len(pipe.declared) >= 2:
                    raise self.error(f"too many declarations in {context}")
                if self.peek_word().kind not in (Kind.VARIABLE, Kind.RIGHT, Kind.RIGHT_PAREN):
                    raise self.error("range can only initialize variables")
                continue
            # The space after an argument separates it from the next one, so it must be put back too.
            if adjacent.kind is Kind.SPACE:
                self.back(adjacent)
            self.back(variable)
            return

    def _declare(self, pipe: nodes.Pipe, token: Token) -> None:
        pipe.declared.append(nodes.Variable(token.line, [token.text]))
        self.frame.variables.append(token.text)

    def _command(self) -> nodes.Command:
        command = nodes.Command(self.peek_word().line)
        while True:
            self.peek_word()
            operand = self._operand()
            if operand is not None:
                command.operands.append(operand)
            token = self.next()
            if token.kind is Kind.SPACE:
                continue
            if token.kind in (Kind.RIGHT, Kind.RIGHT_PAREN):
                self.back(token)
            elif token.kind is not Kind.PIPE:
                raise self.unexpected(token, "operand")
            break
        if not command.operands:
            raise self.error("empty command")
        return command

    def _operand(self) -> nodes.Operand | None:
        node = self._term()
        if node is None or self.peek().kind is not Kind.FIELD:
            return node
        names = []
        while self.peek().kind is Kind.FIELD:
            names.append(self.next().text[1:])
        if isinstance(node, nodes.Field | nodes.Variable):
            node.names.extend(names)
            return node
        if isinstance(node, _LITERALS):
            raise self.error(f"unexpected .{names[0]} after a literal")
        return nodes.Chain(node.line, node, names)

    def _term(self) -> nodes.Operand | None:  # noqa: PLR0911 one return for each kind of token
        token = self.next_word()
        line = token.line
        match token.kind:
            case Kind.IDENTIFIER:
                if token.text not in self.functions:
                    raise self.error(f"function {token.text!r} not defined")
                return nodes.Identifier(line, token.text)
            case Kind.DOT:
                return nodes.Dot(line)
            case Kind.VARIABLE:
                if token.text not in self.frame.variables:
                    raise self.error(f"undefined variable {token.text!r}")
                return nodes.Variable(line, [token.text])
            case Kind.FIELD:
                return nodes.Field(line, [token.text[1:]])
            case Kind.BOOL:
                return nodes.Bool(line, token.text == "true")
            case Kind.STRING | Kind.RAW_STRING:
                return nodes.String(line, self.unquote_token(token))
            case Kind.CHAR_CONSTANT | Kind.COMPLEX | Kind.NUMBER:
                return self._number(token)
            case Kind.LEFT_PAREN:
                return self._parenthesised()
            case Kind.KEYWORD if token.text == "nil":
                return nodes.Nil(line)
        self.back(token)
        return None

    def _parenthesised(self) -> nodes.Pipe:
        self.deeper()
        pipe = self.pipeline("parenthesized pipeline", Kind.RIGHT_PAREN)
        self.depth -= 1
        return pipe

    def _number(self, token: Token) -> nodes.Number:
        try:
            if token.kind is Kind.CHAR_CONSTANT:
                value = unquote_char(token.text)
                return nodes.Number(token.line, token.text, value, True, True, True, False, value)
            parsed = parse_complex(token.text) if token.kind is Kind.COMPLEX else parse_number(token.text)
        except ValueError as err:
            raise self.error(str(err)) from err
        kinds = (parsed.is_int, parsed.is_uint, parsed.is_float, parsed.is_complex)
        return nodes.Number(token.line, token.text, parsed.value, *kinds, untyped_constant(token.text, parsed))
