"""Our interpreter against Go's own text/template: random templates, and written ones for every node and builtin."""

from __future__ import annotations

import logging
import os

import pytest

from tests.chat_template.compare import difference
from tests.chat_template.go_fuzz import fuzz
from tests.chat_template.oracle import Case, judge
from tests.chat_template.oracle.generate import DATA, MESSAGES, TOOLS

#: The large comparison is tests_proof/test_go_fuzz.py; CONCH_FUZZ_CASES=20000 CONCH_FUZZ_SEED=7 runs another.
CASES = int(os.environ.get("CONCH_FUZZ_CASES", "500"))
SEED = int(os.environ.get("CONCH_FUZZ_SEED", "20250"))


def test_random_templates_do_what_go_does() -> None:
    found = fuzz(CASES, SEED)
    logging.getLogger(__name__).info("%s", found)
    found.check()


WRITTEN = [
    "plain text",
    "{{.S}}",
    "{{ .S }}",
    "a {{- .S -}} b",
    "a {{- /* c */ -}} b",
    "{{/* c */}}x",
    "{{`raw\\n`}}",
    '{{"\\t\\u00e9\\x41"}}',
    "{{1}} {{-1}} {{0x1F}} {{1_000}} {{1e3}} {{'a'}} {{'\\n'}} {{1.5}} {{2i}} {{1+2i}} {{true}}",
    "{{.Nope}}",
    "{{.Nope.Deep}}",
    "{{$.S}} {{$x := .S}}{{$x}}{{$x = 3}}{{$x}}",
    "{{if .E}}a{{else if .S}}b{{else}}c{{end}}",
    "{{with .M}}{{.k}}{{else}}none{{end}}",
    "{{with $y := .M}}{{$y.k}}{{end}}",
    "{{with .E}}a{{else with .S}}{{.}}{{else}}c{{end}}",
    "{{range .L}}[{{.}}]{{else}}none{{end}}",
    "{{range .V}}x{{else}}none{{end}}",
    "{{range $i, $x := .L}}{{$i}}={{$x}};{{end}}",
    "{{range $k, $v := .M}}{{$k}}:{{$v}} {{end}}",
    "{{range 3}}{{.}}{{end}}",
    "{{range $i := 4}}{{if eq $i 1}}{{continue}}{{end}}{{if eq $i 3}}{{break}}{{end}}{{$i}}{{end}}",
    "{{range $x := .L}}{{$x}}{{end}}{{range $i, $x := 3}}{{end}}",
    '{{define "t"}}<{{.}}>{{end}}{{template "t" .S}}{{template "t" 1}}',
    '{{block "b" .S}}[{{.}}]{{end}}{{template "b" 2}}',
    '{{template "none" .}}',
    "{{and 1 0 .Fail.Deep}}",
    "{{or 0 .S .Fail.Deep}}",
    "{{not .E}} {{not 1}}",
    "{{eq 1 2 1}} {{eq .S .S}} {{ne 1 2}} {{eq .N nil}}",
    "{{eq 1 1.0}}",
    '{{eq "a" 1}}',
    "{{lt 1 2}} {{le 2 2}} {{gt 3 2}} {{ge 1 2}}",
    '{{lt "a" "b"}}',
    "{{lt true false}}",
    "{{eq .L .L}}",
    "{{eq .M nil}}",
    '{{index .S 0}} {{index .M "k"}} {{index .L 1}} {{index .H 0 1}}',
    "{{index .L 9}}",
    "{{index .S 99}}",
    "{{slice .S 1 3}} {{slice .S 2}} {{slice .S}} {{len (slice .L 1)}}",
    "{{slice .S 3 1}}",
    "{{slice (slice .L 0 1) 0 2}} {{slice (slice .L 1) 0 1}} {{len (slice (slice .L 0 1 1) 0 1)}}",
    "{{slice (slice .L 0 1 1) 0 2}}",
    "{{index (slice .L 0 1) 1}}",
    "{{slice .S 0 1 2}}",
    "{{len .S}} {{len .L}} {{len .M}} {{len .T}}",
    "{{len 3}}",
    '{{print 1 2 "a" "b" 3}}|{{println "x" 1}}',
    '{{printf "%d-%s-%q-%v-%5.1f|%-4s|%04d" 3 "a" "b" .L 2.25 "z" 7}}',
    "{{html .Q}} {{js .Q}} {{urlquery .Q}}",
    "{{json .M}} {{json .Q}} {{json .X}} {{json nil}}",
    '{{.S | printf "%s-%s" "a" | len}}',
    "{{3 | print}}",
    "{{.S | 3}}",
    "{{(index .D 0).Name}} {{(.M).k}} {{(print .S).Nope}}",
    "{{.S.Nope}}",
    "{{nil}}",
    "{{call .S}}",
    "{{.M.k 1}}",
    "{{if}}x{{end}}",
    "{{end}}",
    "{{else}}",
    "{{break}}",
    '{{range .L}}{{define "x"}}{{break}}{{end}}{{end}}',
    "{{$undefined}}",
    "{{nofunction 1}}",
    "{{.S",
    '{{"a}}',
    "{{'ab'}}",
    "{{(.S}}",
    "{{.S)}}",
    "{{ 08 }}",
    "{{ 99999999999999999999 }}",
    "{{range .S}}x{{end}}",
    "{{range .F}}x{{end}}",
    "{{range .N}}x{{else}}empty{{end}}",
    "{{.L}} {{.M}} {{.D}} {{.F}} {{.X}} {{.B}} {{.N}}",
    "{{print nil}} {{print .Nope}}",
    "{{$a := 1}}{{if true}}{{$a = 2}}{{$b := 3}}{{$b}}{{end}}{{$a}}",
    "{{$a, $b := .S}}",
    "{{range $i, $x, $y := .L}}{{end}}",
    '{{if eq .S "Hello"}}{{"{{"}}{{end}}',
    "{{-3}} {{- 3}} {{3 -}} x",
    '{{define "a"}}1{{end}}{{define "a"}}2{{end}}',
    '{{ define "a" }} {{ end }}{{ define "a" }}2{{ end }}{{ template "a" }}',
    "{{.}}",
]

TYPED = [
    "{{range .Messages}}{{.Role}}:{{.Content}};{{end}}",
    "{{range .Messages}}{{range .ToolCalls}}{{.Function.Name}} {{.Function.Arguments}} "
    "{{json .Function.Arguments}} {{.Function}}{{end}}{{end}}",
    "{{range .Messages}}{{range .ToolCalls}}{{range $k, $v := .Function.Arguments}}"
    "{{$k}}={{$v}} {{end}}{{print .Function.Arguments}}{{end}}{{end}}",
    "{{.Tools}} {{json .Tools}}",
    "{{range .Tools}}{{.}} {{.Function}} {{json .}}{{end}}",
    "{{range .Tools}}{{.Function.Parameters}} {{.Function.Parameters.Properties}}{{end}}",
    "{{range .Tools}}{{range $n, $p := .Function.Parameters.Properties}}"
    "{{$n}}: {{$p}} {{$p.Type}} {{json $p.Type}} {{$p.Enum}}{{end}}{{end}}",
    "{{range .Messages}}{{.Nope}}{{end}}",
    "{{range .Messages}}{{with .Thinking}}<{{.}}>{{end}}{{end}}",
    "{{(index .Messages 0).Role}} {{len .Messages}} {{json (index .Messages 2)}}",
    "{{range $i, $_ := .Messages}}{{if eq (len (slice $.Messages $i)) 1}}last {{.Role}}{{end}}{{end}}",
    "{{range .Messages}}{{.}}{{end}}",
    "{{range .Tools}}{{.String}}{{.Function.String}}{{end}}",
    "{{(index .Tools 0).Function.Parameters.Properties.none.Type}}",
    "{{range .Messages}}{{.Images}}{{len .Images}}{{end}}",
    "{{json .Messages}}",
    "{{range .Messages}}{{eq .ToolCalls nil}}{{if .ToolCalls}}y{{end}}{{end}}",
    "{{print (index .Tools 0)}} {{print (index .Tools 0).Function}}",
    "{{html (index .Tools 0)}}",
    "{{(index .Messages 0).Content.Deep}}",
]


@pytest.fixture(scope="module")
def written() -> list[tuple[Case, str | None]]:
    cases = [Case(template, DATA, {"I": 3, "J": 0, "K": -2}) for template in WRITTEN]
    cases += [Case(template, DATA, {}, MESSAGES, TOOLS, True) for template in TYPED]
    return [(case, difference(case, verdict)) for case, verdict in zip(cases, judge(cases), strict=True)]


@pytest.mark.parametrize("number", range(len(WRITTEN) + len(TYPED)))
def test_written_template_does_what_go_does(written: list[tuple[Case, str | None]], number: int) -> None:
    _, found = written[number]
    assert found is None, found


def test_printf_does_what_go_does() -> None:
    import random

    chance = random.Random(SEED)
    operands = [
        "$.S",
        "$.T",
        "$.F",
        "$.X",
        "$.Y",
        "$.Z",
        "$.I",
        "$.K",
        "true",
        "nil",
        "'x'",
        "1e-7",
        "2i",
        "$.L",
        "$.M",
        "$.D",
    ]
    operands += ['"é🙂\\x01"', '"\\xff\\xfe"', "0.1", "1e20", "100000.5", "(index $.S 0)", "$.N"]
    cases = []
    for _ in range(400):
        form = ""
        for _ in range(chance.randint(1, 3)):
            flags = "".join(chance.choice("+- 0") for _ in range(chance.choice([0, 0, 0, 1, 2])))
            width = chance.choice(["", "", "5", "12", "[1]", "*", "[2]*"]) + chance.choice(
                ["", "", ".0", ".1", ".3", ".", ".*"]
            )
            form += "%" + flags + chance.choice(["", "", "#"]) + width + chance.choice("sdqxXtcUgGeEfFboOTz%!é")
            form += "%" + flags + width + "v"
        arguments = " ".join(chance.choice(operands) for _ in range(chance.randint(0, 5)))
        cases.append(Case(f'{{{{printf "{form}" {arguments}}}}}', DATA, {"I": 3, "J": 0, "K": -2}))
    found = [text for case, verdict in zip(cases, judge(cases), strict=True) if (text := difference(case, verdict))]
    assert not found, "\n".join(found[:5])
