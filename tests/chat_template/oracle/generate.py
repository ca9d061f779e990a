"""Random Go templates with data, for the comparison of our interpreter with Go's: every node, builtin and literal.

Mostly well typed, so that most cases print something; now and then an operand of another type, a missing field, a
broken delimiter, so that errors are compared too. The same seed gives the same cases.
"""

from __future__ import annotations

import random
from collections import Counter

from tests.chat_template.oracle import Case

TEXTS = [
    "",
    "a",
    "Hello",
    " x ",
    "\n",
    "héllo",
    "你好，世界",
    "<b>&'\"",
    "{{",
    "tab\there",
    "🙂",
    "</think>",
    "\u3000",
    "\u00a0z",
]
TEXTS += ["a\u200db", "\x01\x7f", "back\\slash", "=+%41 ~", "e\u0301"]
INTS = [0, 1, 2, 3, 7, -1, -5, 10, 42, 255, 1000]
FLOATS = [0.0, 1.0, -1.5, 0.1, 3.25, 1e21, 1e20, 1e-7, 123456789.0, 1.0e6, 2.5e-5, -0.0, 1e100]
DATA = {
    "S": "Hello",
    "T": " 你好 \n",
    "E": "",
    "Q": "<a href='x'>&\"q\"</a>",
    "F": 2.5,
    "G": 3.0,
    "Z": 0.0,
    "B": True,
    "N": None,
    "L": ["a", "b", "", "d"],
    "M": {"k": "v", "b": 2.0, "a": None, "n": {"x": "deep", "y": [1, "z", None]}},
    "V": [],
    "W": {},
    "D": [{"Name": "x", "On": True, "V": 1.0}, {"Name": "y", "On": False}, {"Name": "", "V": [1]}],
    "H": [[1, 2], [], ["q"]],
    "X": 1e21,
    "Y": -4.0,
    "O": [None, False, 0, "s"],
}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " 你好 <tag> & {{x}} "},
    {
        "role": "assistant",
        "content": "",
        "thinking": "hm\n",
        "tool_calls": [
            {"function": {"name": "weather", "arguments": {"city": "Paris", "days": 3, "deep": {"a": [1, None]}}}},
            {"function": {"index": 1, "name": "time", "arguments": {}}},
        ],
    },
    {"role": "tool", "content": "18°"},
    {"role": "assistant", "content": "It is 18°."},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather <now>",
            "parameters": {
                "type": "object",
                "required": ["city"],
                "properties": {
                    "city": {"type": "string", "description": "a city"},
                    "unit": {"type": ["string", "null"], "description": "", "enum": ["C", "F", None, 1]},
                },
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "time",
            "description": "",
            "parameters": {"type": "object", "required": None, "properties": None},
        },
    },
]
VERBS = [
    "%v",
    "%s",
    "%d",
    "%q",
    "%x",
    "%X",
    "%5s|",
    "%-6v|",
    "%05d",
    "%.2s",
    "%.1s",
    "%t",
    "%c",
    "%U",
    "%+d",
    "%g",
    "%.3f",
    "%e",
]
VERBS += [
    "%%",
    "%",
    "%!",
    "%*d",
    "%[2]v",
    "%[1]s",
    "%6.2f",
    "% x",
    "%#x",
    "%#q",
    "%o",
    "%b",
    "%T",
    "%+v",
    "%08.3f",
    "%G",
    "%+q",
    "%O",
    "%.3x",
    "%.0X",
    "%#g",
    "%#.3g",
    "%#e",
    "%+.1x",
    "%#x|%8.2g",
]


class Generator:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.used: Counter[str] = Counter()
        self.strings: list[str] = []
        self.ints: list[str] = []
        self.anys: list[str] = []
        self.dots: list[str] = []
        self.loops = 0
        self.names = 0
        self.defines: list[str] = []

    def case(self) -> Case:
        self.strings, self.ints, self.anys, self.dots, self.loops = [], [], [], ["root"], 0
        self.defines, self.names = [], 0
        typed = self.random.random() < 0.4
        self.typed = typed
        body = "".join(self.statement(3) for _ in range(self.random.randint(1, 4)))
        body += "".join(self.defines)
        if self.random.random() < 0.04:
            body = self.broken(body)
        return Case(body, DATA, {"I": 3, "J": 0, "K": -2}, MESSAGES if typed else (), TOOLS if typed else None, typed)

    def broken(self, text: str) -> str:
        self.used["broken"] += 1
        at = self.random.randrange(len(text) + 1)
        extra = self.random.choice(
            ["{{", "}}", "{{end}}", "(", "'", '"', "{{else}}", "{{break}}", "{{ . | 3 }}", "{{/*"]
        )
        return text[:at] + extra + text[at + self.random.randint(0, 2) :]

    def pick(self, *names: str) -> str:
        name = self.random.choice(names)
        self.used[name] += 1
        return name

    # -- statements

    def tags(self) -> tuple[str, str]:
        return self.random.choice(["{{", "{{ ", "{{- "]), self.random.choice(["}}", " }}", " -}}"])

    def action(self, inner: str) -> str:
        left, right = self.tags()
        return left + inner + right

    def text(self) -> str:
        return self.random.choice(["", " ", "x", "\n", " text ", "\n  ", "<|im_start|>", "\t\r\n", "é "])

    def block(self, depth: int) -> str:
        marks = len(self.strings), len(self.ints), len(self.anys)
        body = "".join(self.statement(depth - 1) for _ in range(self.random.randint(1, 2)))
        del self.strings[marks[0] :], self.ints[marks[1] :], self.anys[marks[2] :]
        return body

    def statement(self, depth: int) -> str:
        kinds = ["text", "action", "action", "action", "declare", "assign", "comment"]
        if depth > 0:
            kinds += ["if", "if", "with", "range", "range", "range", "template", "block"]
        if self.loops:
            kinds += ["break", "continue"]
        kind = self.pick(*kinds)
        return self.text() + getattr(self, f"s_{kind}")(depth)

    def s_text(self, depth: int) -> str:
        return self.text()

    def s_action(self, depth: int) -> str:
        return self.action(self.pipeline(depth))

    def s_comment(self, depth: int) -> str:
        return self.random.choice(["{{/* c */}}", "{{- /* c\n */ -}}", "{{/* }} */}}"])

    def s_declare(self, depth: int) -> str:
        kind = self.random.choice(["str", "int", "any"])
        value = self.expr(kind, depth)
        name = self.fresh()
        {"str": self.strings, "int": self.ints, "any": self.anys}[kind].append(name)
        return self.action(f"{name} := {value}")

    def s_assign(self, depth: int) -> str:
        if not self.strings:
            return self.s_declare(depth)
        return self.action(f"{self.random.choice(self.strings)} = {self.expr('str', depth)}")

    def fresh(self) -> str:
        self.names += 1
        return f"$v{self.names}"

    def s_if(self, depth: int) -> str:
        out = self.action(f"if {self.expr('bool' if self.random.random() < 0.7 else 'any', depth)}") + self.block(depth)
        while self.random.random() < 0.25:
            self.used["else if"] += 1
            out += self.action(f"else if {self.expr('bool', depth)}") + self.block(depth)
        if self.random.random() < 0.5:
            self.used["else"] += 1
            out += self.action("else") + self.block(depth)
        return out + self.action("end")

    def s_with(self, depth: int) -> str:
        if self.random.random() < 0.3:
            name = self.fresh()
            out = self.action(f"with {name} := {self.expr('any', depth)}")
            self.anys.append(name)
            out += self.inside("any", depth)
            self.anys.remove(name)
        else:
            kind = self.random.choice(["str", "map", "any"])
            out = self.action(f"with {self.expr(kind, depth)}") + self.inside(kind, depth)
        if self.random.random() < 0.3:
            self.used["else with"] += 1
            out += self.action(f"else with {self.expr('str', depth)}") + self.inside("str", depth)
        if self.random.random() < 0.4:
            out += self.action("else") + self.block(depth)
        return out + self.action("end")

    def inside(self, kind: str, depth: int) -> str:
        self.dots.append(kind)
        body = self.block(depth)
        self.dots.pop()
        return body

    def s_range(self, depth: int) -> str:
        source, element = self.random.choice(
            [
                (".L", "str"),
                ("$.L", "str"),
                ("$.D", "map"),
                ("$.M", "any"),
                ("$.V", "any"),
                ("$.H", "list"),
                ("$.I", "int"),
            ]
            + [
                ("$.O", "any"),
                (self.expr("int", 1), "int"),
                ("$.N", "any"),
                ("$.W", "any"),
                ("$.S", "any"),
                ("$.F", "any"),
            ]
            + ([("$.Messages", "message"), ("$.Tools", "tool")] * 3 if self.typed else [])
        )
        if source == ".L" and self.dots[-1] != "root":
            source = "$.L"
        self.used[f"range {element}"] += 1
        two = element != "int" and self.random.random() < 0.4
        names: list[str] = []
        head = source
        if two:
            names = [self.fresh(), self.fresh()]
            head = f"{names[0]}, {names[1]} := {source}"
            self.ints.append(names[0])
            self.anys.append(names[1])
        elif self.random.random() < 0.3:
            names = [self.fresh()]
            head = f"{names[0]} := {source}"
            self.anys.append(names[0])
        self.loops += 1
        out = self.action(f"range {head}") + self.inside(element, depth)
        self.loops -= 1
        for name in names:
            for known in (self.ints, self.anys):
                if name in known:
                    known.remove(name)
        if self.random.random() < 0.3:
            out += self.action("else") + self.block(depth)
        return out + self.action("end")

    def s_break(self, depth: int) -> str:
        return self.action(f"if {self.expr('bool', 1)}") + self.action("break") + self.action("end")

    def s_continue(self, depth: int) -> str:
        return self.action(f"if {self.expr('bool', 1)}") + self.action("continue") + self.action("end")

    def s_template(self, depth: int) -> str:
        name = f"t{len(self.defines)}"
        loops, self.loops = self.loops, 0
        saved = self.strings, self.ints, self.anys
        self.strings, self.ints, self.anys = [], [], []
        dots, self.dots = self.dots, ["any"]
        self.defines.append("")
        at = len(self.defines) - 1
        body = self.block(depth - 1) if depth > 1 else "[{{.}}]"
        self.defines[at] = self.action(f'define "{name}"') + body + self.action("end")
        self.loops, self.dots = loops, dots
        self.strings, self.ints, self.anys = saved
        return self.action(f'template "{name}" {self.random.choice(["$", "$.M", ".", "$.S"])}')

    def s_block(self, depth: int) -> str:
        self.names += 1
        loops, self.loops = self.loops, 0
        saved = self.strings, self.ints, self.anys
        self.strings, self.ints, self.anys = [], [], []
        out = self.action(f'block "b{self.names}" $') + self.inside("root", depth) + self.action("end")
        self.strings, self.ints, self.anys = saved
        self.loops = loops
        return out

    # -- expressions

    def pipeline(self, depth: int) -> str:
        value = self.expr(self.random.choice(["str", "str", "any", "int", "bool", "float"]), depth)
        while self.random.random() < 0.15:
            self.used["pipe"] += 1
            value += " | " + self.random.choice(
                [
                    "printf " + self.quote(self.random.choice(VERBS)),
                    "print",
                    "len",
                    "not",
                    "html",
                    "js",
                    "urlquery",
                    "json",
                    "println",
                    'eq "a"',
                    "and 1",
                    "or .E",
                    'print "x"',
                    "index $.L",
                    "slice $.S 1",
                ]
            )
        return value

    def expr(self, kind: str, depth: int) -> str:
        if self.random.random() < 0.03:
            kind = self.random.choice(["str", "int", "float", "bool", "list", "map", "any", "missing"])
        if kind == "any":
            kind = self.random.choice(["str", "int", "float", "bool", "list", "map", "var", "dot", "missing", "nested"])
        value = str(getattr(self, f"e_{kind}")(depth))
        return f"({value})" if " " in value and value[0] not in "\"'`(" else value

    def wrap(self, value: str) -> str:
        return f"({value})" if " " in value and value[0] not in "\"'`(" else value

    def quote(self, text: str) -> str:
        if "`" not in text and self.random.random() < 0.2:
            self.used["raw string"] += 1
            return f"`{text}`"
        out = ""
        for char in text:
            if char in '"\\':
                out += "\\" + char
            elif char == "\n":
                out += "\\n"
            elif ord(char) < 32 or ord(char) == 127:
                out += self.random.choice([f"\\x{ord(char):02x}", f"\\{ord(char):03o}", f"\\u{ord(char):04x}"])
            elif ord(char) > 127 and self.random.random() < 0.3:
                out += f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
            else:
                out += char
        return f'"{out}"'

    def e_str(self, depth: int) -> str:
        choices = ["literal", "field", "field"]
        if depth > 0:
            choices += [
                "printf",
                "print",
                "println",
                "html",
                "js",
                "urlquery",
                "slice",
                "index",
                "json",
                "or",
                "and",
                "paren",
            ]
        if self.strings:
            choices += ["variable"] * 2
        dot = self.dots[-1]
        if dot in ("str", "map", "message", "tool"):
            choices += ["dot"] * 3
        match self.pick(*choices):
            case "literal":
                return self.quote(self.random.choice(TEXTS))
            case "variable":
                return self.random.choice(self.strings)
            case "dot":
                return self.from_dot(dot)
            case "printf":
                form = "".join(self.random.choice([*VERBS, "x", " "]) for _ in range(self.random.randint(1, 3)))
                arguments = " ".join(self.expr("any", depth - 1) for _ in range(self.random.randint(0, 3)))
                return f"printf {self.quote(form)} {arguments}".rstrip()
            case "print" | "println" | "html" | "js" | "urlquery" as name:
                return f"{name} " + " ".join(self.expr("any", depth - 1) for _ in range(self.random.randint(0, 3)))
            case "slice":
                bounds = " ".join(
                    str(self.random.choice([0, 1, 1, 2, 3, "(len $.H)"])) for _ in range(self.random.randint(0, 2))
                )
                return f"slice {self.expr('str', depth - 1)} {bounds}".rstrip()
            case "index":
                return self.random.choice(
                    ["index $.L 0", "index $.L 1", 'index $.M "k"', 'index $.M "none"', "index $.H 0 1"]
                )
            case "json":
                return f"json {self.expr('any', depth - 1)}"
            case "or" | "and" as name:
                return f"{name} {self.expr('any', depth - 1)} {self.expr('str', depth - 1)}"
            case "paren":
                return f"({self.expr('str', depth - 1)})"
        return self.random.choice(["$.S", "$.T", "$.Q", "$.M.k", "$.M.n.x"] + ([".S"] if dot == "root" else []))

    def from_dot(self, dot: str) -> str:
        if dot == "message":
            return self.random.choice([".Role", ".Content", ".Content", ".Thinking", ".ToolCalls", ".Images", ".Nope"])
        if dot == "tool":
            return self.random.choice(
                [
                    ".",
                    ".Type",
                    ".Function.Name",
                    ".Function",
                    ".Function.Description",
                    ".Function.Parameters.Required",
                    ".Function.Parameters.Properties",
                    ".String",
                    ".Function.Parameters.Properties.city.Type",
                    ".Items",
                    ".Function.Parameters.Properties.unit",
                    ".Function.Parameters.Properties.none.Type",
                    ".Function.String",
                ]
            )
        if dot == "map":
            return self.random.choice([".Name", ".On", ".V", ".Nope", "."])
        return "."

    def e_int(self, depth: int) -> str:
        choices = (
            ["number", "number", "intfield"] + (["len"] * 2 if depth > 0 else []) + (["variable"] if self.ints else [])
        )
        match self.pick(*choices):
            case "number":
                value = self.random.choice(INTS)
                return self.random.choice(
                    [str(value), str(value), f"{value:#x}", "'a'", "'\\n'", "'é'", "0b101", "0o17", "1_000"]
                )
            case "len":
                return f"len {self.expr(self.random.choice(['str', 'list', 'map']), depth - 1)}"
            case "variable":
                return self.random.choice(self.ints)
        return self.random.choice(["$.I", "$.J", "$.K"])

    def e_float(self, depth: int) -> str:
        self.used["float"] += 1
        return self.random.choice(
            ["$.F", "$.G", "$.Z", "$.X", "$.Y", "1.5", "-2.0", "1e3", "0x1p4", "1.", ".5", "2i", "1+2i"]
        )

    def e_bool(self, depth: int) -> str:
        if depth <= 0:
            return self.random.choice(["true", "false", "$.B", "$.E", "$.N"])
        name = self.pick("eq", "ne", "lt", "le", "gt", "ge", "not", "and", "or", "eq many", "literal")
        match name:
            case "not":
                return f"not {self.expr('any', depth - 1)}"
            case "and" | "or":
                count = self.random.randint(1, 3)
                return f"{name} " + " ".join(self.expr("bool", depth - 1) for _ in range(count))
            case "literal":
                return self.random.choice(["true", "false", "$.B", "$.V", "$.W", "$.L", "$.Missing"])
            case "eq many":
                kind = self.random.choice(["str", "int"])
                return "eq " + " ".join(self.expr(kind, depth - 1) for _ in range(self.random.randint(1, 4)))
        kind = self.random.choice(["str", "int", "float", "str", "int", "bool" if name in ("eq", "ne") else "str"])
        other = kind if self.random.random() < 0.9 else "any"
        return f"{name} {self.expr(kind, depth - 1)} {self.expr(other, depth - 1)}"

    def e_list(self, depth: int) -> str:
        self.used["list"] += 1
        plain = ["$.L", "$.H", "$.D", "$.V", "$.O", "$.M.n.y"]
        if depth > 0:
            plain += ["(slice $.L 1)", "(slice $.L 1 3)", "(slice $.D 0 1 2)", "(index $.H 0)"]
        return self.random.choice(plain + (["$.Messages", "$.Tools"] if self.typed and depth > 3 else []))

    def e_map(self, depth: int) -> str:
        self.used["map"] += 1
        # Not `$` where it holds messages: a pointer prints as an address, and how long that is differs too.
        whole = [] if self.typed else ["$"]
        return self.random.choice(["$.M", "$.M.n", "$.W", "(index $.D 0)", *whole] if depth > 0 else ["$.M", "$.W"])

    def e_var(self, depth: int) -> str:
        return self.random.choice(self.anys + self.strings + self.ints + ["$.S"])

    def e_dot(self, depth: int) -> str:
        self.used["dot"] += 1
        return self.from_dot(self.dots[-1]) if self.dots[-1] not in ("root", "any", "message", "tool") else ".S"

    def e_missing(self, depth: int) -> str:
        self.used["missing"] += 1
        return self.random.choice(
            ["$.Nope", "$.N", "nil", "$.M.none", "$.Nope.Deep", "$.S.Field", "$.M.n.none", "(index $.O 0)"]
        )

    def e_nested(self, depth: int) -> str:
        self.used["nested"] += 1
        return self.random.choice(
            ["(index $.D 0).Name", "($.M).k", "(index $.D 1).On", "($.M.n).y", '(print "a" 1)', "(len $.L)"]
        )
