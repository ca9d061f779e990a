"""Templates that mean harm, Jinja and Go, each with a word that the error must say."""

from __future__ import annotations

#: name -> (source, a word of the error)
JINJA: dict[str, tuple[str, str]] = {
    # loops
    "nested ranges": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "does too much",
    ),
    "a loop that filters all": (
        "{% for a in range(99999) %}{% for b in range(99999) if b < 0 %}{% endfor %}{% endfor %}",
        "does too much",
    ),
    "a huge range": ("{% for i in range(10 ** 12) %}{% endfor %}", "Range too big"),
    "a huge range as a list": ("{{ range(999999999) | list }}", "Range too big"),
    "loops inside loops": ("{% for i in range(99) %}" * 15 + "{% endfor %}" * 15, "does too much"),
    "a loop over itself": ("{% for i in [[]] recursive %}{{ loop([i]) }}{% endfor %}", "without end"),
    "a loop over a long text": (
        "{% set x = 'ab' * 500000 %}{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}",
        "does too much",
    ),
    "a long loop body": (
        "{% for i in range(99999) %}" + "{% set x = i | string | upper %}" * 400 + "{% endfor %}",
        "does too much",
    ),
    "breaks that come too late": (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% if j == 99998 %}{% break %}{% endif %}{% endfor %}"
        "{% endfor %}",
        "does too much",
    ),
    "maps over maps": ("{{ range(99999) | map('string')" + " | map('upper')" * 40 + " | list | length }}", "too much"),
    "filters over filters": (
        "{% set n = namespace(g=[1]) %}{% for i in range(9999) %}{% set n.g = n.g | map('string') %}{% endfor %}"
        "{{ n.g|list }}",
        "over one another",
    ),
    # macros, blocks
    "a macro that calls itself": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "without end"),
    "two macros that call each other": (
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
        "without end",
    ),
    "macros that double": (
        "{% macro m0() %}{% endmacro %}"
        + "".join(f"{{% macro m{n}() %}}{{{{ m{n - 1}() }}}}{{{{ m{n - 1}() }}}}{{% endmacro %}}" for n in range(1, 60))
        + "{{ m59() }}",
        "does too much",
    ),
    "macros whose text doubles": (
        "{% macro m0() %}some text{% endmacro %}"
        + "".join(
            f"{{% macro m{n}() %}}{{% set x = m{n - 1}() %}}{{{{ x }}}}{{{{ x }}}}{{% endmacro %}}"
            for n in range(1, 60)
        )
        + "{{ m59() }}",
        "does too much",
    ),
    "a block that holds itself": ("{% block a %}{{ self.a() }}{% endblock %}", "without end"),
    "a block printed often": (
        "{% block a %}{% for i in range(9999) %}{{ messages[0].content * 2000000 }}{% endfor %}{% endblock %}",
        "output",
    ),
    "a block called often": (
        "{% if not x %}{% block a %}{% for i in range(9999) %}{% if x %}{{ 'a' * 4000000 }}{% endif %}{% endfor %}"
        "{% endblock %}{% endif %}{% set x = 1 %}{% for i in range(9999) %}{{ self.a() }}{% endfor %}",
        "does too much",
    ),
    "a caller that calls": (
        "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}"
        + "{% call m() %}" * 40
        + "x"
        + "{% endcall %}" * 40,
        "does too much",
    ),
    # texts
    "a text times a number": ("{{ 'a' * 10 ** 10 }}", "*"),
    "a number times a text": ("{{ 999999999 * 'ab' }}", "*"),
    "a text that doubles by +": (
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
        "+",
    ),
    "a text that doubles by ~": (
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "does too much",
    ),
    "a set block that doubles": (
        "{% set x = 'abc' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60 + "{{ x }}",
        "does too much",
    ),
    "a text printed often": (
        "{% set x = 'a' * 1000000 %}{% for i in range(999) %}{{ x }}{% endfor %}",
        "characters of output",
    ),
    "printf with a width": ("{{ '%999999999d' % 1 }}", "width"),
    "printf with a precision": ("{{ '%.999999999f' % 1.5 }}", "width"),
    "printf with width and precision": ("{{ '%5.999999999f' % 1.5 }}", "width"),
    "printf with a named width": ("{{ '%(a)999999999d' % {'a': 1} }}", "width"),
    "printf with a star": ("{{ '%*d' % (999999999, 1) }}", "width"),
    "printf with many widths": ("{{ ('%99999d' * 1000) % ((1,) * 1000) }}", "width"),
    "printf of one text often": ("{{ ('%(a)s' * 99999) % {'a': 'x' * 99999} }}", "value of a format"),
    "the filter format with a width": ("{{ '%999999999d' | format(1) }}", "width"),
    "the method format with a width": ("{{ '{:>999999999}'.format(1) }}", "width"),
    "the method format with a width given": ("{{ '{:>{w}}'.format(1, w=999999999) }}", "width"),
    "the method format of one text often": ("{{ ('{0}' * 99999).format('x' * 99999) }}", "format"),
    "center": ("{{ 'a' | center(10 ** 9) }}", "width"),
    "center with a literal": ("{{ 'a' | center(1000000000) }}", "width"),
    "the method center": ("{{ 'a'.center(1000000000) }}", "width"),
    "ljust": ("{{ 'a'.ljust(1000000000) }}", "width"),
    "zfill": ("{{ '1'.zfill(999999999) }}", "width"),
    "expandtabs": ("{{ ('\\t' * 9999).expandtabs(999999) }}", "expandtabs"),
    "indent": ("{{ ('\\n' * 99999) | indent(99999) }}", "indent"),
    "replace": ("{{ ('a' * 99999) | replace('a', 'b' * 99999) }}", "replace"),
    "the method replace of nothing": ("{{ ('a' * 99999).replace('', 'b' * 99999) }}", "replace"),
    "join": ("{{ range(99999) | join('x' * 99999) }}", "join"),
    "the method join": ("{{ ('x' * 99999).join(['a'] * 99999) }}", "join"),
    "join of one text often": ("{% set x = 'x' * 99999 %}{{ [x, x, x, x] * 999 }}", "*"),
    "translate": ("{{ 'aaaa'.translate({97: 'b' * 99999}) }}", "translate"),
    "a search backwards": ("{% set x = 'a' * 2000000 %}{{ x.rfind('b' + 'a' * 1000000) }}", "does too much"),
    "searches without end": (
        "{% set x = 'a' * 2000000 %}{% for i in range(99999) %}{% if 'ab' in x %}{% endif %}{% endfor %}",
        "does too much",
    ),
    "comparisons without end": (
        "{% set x = 'a' * 2000000 %}{% set y = 'a' * 2000000 %}{% for i in range(99999) %}{% if x == y %}{% endif %}"
        "{% endfor %}",
        "does too much",
    ),
    "upper case without end": (
        "{% set x = 'é' * 2000000 %}{% for i in range(99999) %}{% set z = x | upper %}{% endfor %}",
        "does too much",
    ),
    "title of a long text": ("{% set x = 'a b ' * 900000 %}{{ x | title }}", "does too much"),
    "words of a long text": ("{% set x = 'a b ' * 900000 %}{{ x | wordcount }}", "does too much"),
    "a text split to pieces": ("{% set x = 'a ' * 1000000 %}{{ x.split() | length }}", "elements in all"),
    "striptags": ("{{ ('<' * 99999) | striptags }}", "striptags"),
    "urlize": ("{{ ('http://' * 9999) | urlize }}", "urlize"),
    "lipsum": ("{{ lipsum(n=10 ** 9) }}", "lipsum"),
    "a date format": ("{{ strftime_now('%c' * 999999) }}", "strftime_now"),
    "a refusal of a million words": ("{{ raise_exception('no ' * 999999) }}", "refuses"),
    # numbers
    "a power": ("{{ 10 ** (10 ** 8) }}", "**"),
    "a power of powers": ("{{ 2 ** (2 ** (2 ** (2 ** (2 ** 2)))) }}", "**"),
    "numbers that square": (
        "{% set n = namespace(x=3) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
        "integer",
    ),
    "a number in base 16": ("{{ ('f' * 4000000) | int(0, 16) }}", "integer"),
    "bytes of a number": ("{{ (1).to_bytes(999999999, 'big') }}", "to_bytes"),
    "round to a million places": ("{{ 1.5 | round(999999999, 'ceil') }}", "round"),
    # lists and mappings
    "a list times a number": ("{{ [1] * 999999999 }}", "*"),
    "lists that double": ("{% set a = [1] %}" + "{% set a = [a, a] %}" * 50 + "{{ a }}", "elements in all"),
    "lists that double, as JSON": ("{% set a = [1] %}" + "{% set a = [a, a] %}" * 50 + "{{ a | tojson }}", "elements"),
    "mappings that double": (
        "{% set a = {} %}" + "{% set a = {'x': a, 'y': a} %}" * 50 + "{{ a | tojson }}",
        "elements in all",
    ),
    "mappings that double by dict": ("{% set a = 1 %}" + "{% set a = dict(x=a, y=a) %}" * 50 + "{{ a }}", "elements"),
    "tuples that double, as keys": ("{% set a = (1,) %}" + "{% set a = (a, a) %}" * 50 + "{{ {a: 1} }}", "elements"),
    "tuples inside tuples, as a key": (
        "{% set n = namespace(t=()) %}{% for i in range(99999) %}{% set n.t = (n.t,) %}{% endfor %}{{ {n.t: 1} }}",
        "deep inside one another",
    ),
    "lists that double by default": (
        "{% set n = namespace(a=['x']) %}{% for i in range(9) %}{% set n.a = (([''] * 9999) "
        "| map('default', n.a, true) | list) %}{% endfor %}{{ n.a }}",
        "does too much",
    ),
    "a list added to itself": (
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "elements in all",
    ),
    "a sum of lists": ("{{ ([[1]] * 99999) | sum(start=[]) | length }}", "sum"),
    "sorting without end": (
        "{% set x = range(99999) | list %}{% for i in range(999) %}{% set y = x | sort %}{% endfor %}",
        "does too much",
    ),
    "batch": ("{{ [1] | batch(999999999, 0) | list }}", "batch"),
    "slice": ("{{ [1] | slice(999999999) | list }}", "batch or slice"),
    "JSON with an indent": ("{{ [[1], [2]] | tojson(indent=999999999) }}", "indent"),
    "a namespace that holds itself": (
        "{% set n = namespace() %}{% set n.n = n %}{{ n }}{{ n | string }}{{ raise_exception('held') }}",
        "held",
    ),
    "JSON of a namespace that holds itself": ("{% set n = namespace() %}{% set n.n = n %}{{ n | tojson }}", "JSON"),
    "a cycle that grows": (
        "{% set n = namespace(c=1) %}{% for i in range(9999) %}{% set n.c = cycler(n.c, n.c) %}{% endfor %}"
        "{{ raise_exception('grown') }}",
        "grown",
    ),
    # the source
    "deep parentheses": ("{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}", "nested too deeply"),
    "deep lists": ("{{ " + "[" * 20000 + "]" * 20000 + " }}", "nested too deeply"),
    "deep conditions": ("{% if x %}" * 3000 + "{% endif %}" * 3000, "nested too deeply"),
    "deep loops": ("{% for i in x %}" * 3000 + "{% endfor %}" * 3000, "nested too deeply"),
    "negations without end": ("{{ " + "not " * 30000 + "x }}", "nested too deeply"),
    "filters without end": ("{{ x" + "|trim" * 20000 + " }}", "chat template (Jinja)"),
    "additions without end": ("{{ 1" + " + 1" * 30000 + " }}", "chat template (Jinja)"),
    "ten megabytes": ("{{ 'a' }}" * 1_200_000, "characters of source"),
    "ten megabytes of text": ("a" * 10_000_000, "characters of source"),
    "many small parts": ("{{ x }}" * 18_000, "parts in the template"),
    "a comment without an end": ("{# " * 40_000, "comment"),
    "braces": ("{" * 131_000 + "{{", "chat template (Jinja)"),
    # what is out of reach
    "include": ("{% include 'a' %}", "include"),
    "import": ("{% import 'a' as b %}", "import"),
    "extends": ("{% extends 'a' %}", "extends"),
    "autoescape": ("{% autoescape true %}{{ x }}{% endautoescape %}", "autoescape"),
    "a class": ("{{ messages.__class__.__mro__ }}", "__class__"),
    "subclasses": ("{{ ''.__class__.__base__.__subclasses__() }}", "__class__"),
    "globals": ("{{ cycler.__init__.__globals__.os }}", "__init__"),
    "attr": ("{{ (''|attr('__class__')).__base__ }}", "__class__"),
    "item": ("{{ ''['__class__']['__base__'] }}", "__class__"),
    "format": ("{{ '{0.__class__.__base__}'.format(1) }}", "__class__"),
    "format by attr": ("{{ ('{0.__class__.__base__}'|attr('format'))(1) }}", "__class__"),
    "format_map": ("{{ '{a.__class__.__base__}'.format_map({'a': 1}) }}", "__class__"),
    "map of an attribute": ("{{ (['']|map(attribute='__class__')|first).x }}", "__class__"),
    "a namespace with underscores": ("{% set n = namespace(__class__=1) %}", "__class__"),
    "a list changed": ("{{ messages.append(1) }}", "append"),
    "a mapping changed": ("{{ messages[0].update({'a': 1}) }}", "update"),
    "self": ("{{ self._TemplateReference__context.environment }}", "_TemplateReference__context"),
    "a frame": ("{{ (messages|map('string')).gi_frame.f_globals }}", "gi_frame"),
}

#: name -> (source, a word of the error)
GO: dict[str, tuple[str, str]] = {
    "a huge range": ("{{ range 999999999999 }}{{ end }}", "steps"),
    "nested ranges": ("{{ range 99999 }}{{ range 99999 }}{{ end }}{{ end }}", "steps"),
    "ranges inside ranges": ("{{ range 99 }}" * 50 + "{{ end }}" * 50, "steps"),
    "a template that calls itself": (
        '{{ .Messages }}{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}',
        "inside one another",
    ),
    "templates that double": (
        '{{ .Messages }}{{ define "t0" }}a{{ end }}'
        + "".join(
            f'{{{{ define "t{n}" }}}}{{{{ template "t{n - 1}" . }}}}{{{{ template "t{n - 1}" . }}}}{{{{ end }}}}'
            for n in range(1, 50)
        )
        + '{{ template "t49" . }}',
        "steps",
    ),
    "printf with a width": ('{{ printf "%1000000d" 1 | len }}' * 3000, "steps"),
    "printf with many widths": ('{{ printf "' + "%999999[1]d" * 5000 + '" 1 }}', "bytes"),
    "printf with a star": ('{{ range 99999 }}{{ $x := printf "%*d" 999999 1 }}{{ end }}', "steps"),
    "printf with a precision": ('{{ printf "' + "%.999999[1]f" * 5000 + '" 1.5 }}', "bytes"),
    "printf of one text often": (
        '{{ $x := printf "%999999d" 1 }}{{ printf "' + "%[1]s" * 9999 + '" $x }}',
        "bytes",
    ),
    "a text that doubles": ('{{ $x := "ab" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}{{ $x }}', "bytes"),
    "a text that is escaped again": ('{{ $x := "<>" }}{{ range 99 }}{{ $x = js $x $x }}{{ end }}', "bytes"),
    "output without end": ('{{ $x := printf "%999999d" 1 }}{{ range 999 }}{{ $x }}{{ end }}', "output"),
    "comparisons without end": (
        '{{ $x := printf "%999999d" 1 }}{{ $y := printf "%999999d" 1 }}{{ range 999999 }}'
        "{{ if eq $x $y }}{{ end }}{{ end }}",
        "steps",
    ),
    "slices without end": ('{{ $x := printf "%999999d" 1 }}{{ range 999999 }}{{ $y := slice $x 1 }}{{ end }}', "steps"),
    "deep parentheses": ("{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}", "levels"),
    "deep conditions": ("{{ if . }}" * 5000 + "{{ end }}" * 5000, "levels"),
    "else if without end": ("{{ if . }}" + "{{ else if . }}" * 8000 + "{{ end }}", "nested too deeply"),
    "ten megabytes": ("{{ . }}" * 1_500_000, "characters of source"),
    "ten megabytes of text": ("a" * 10_000_000, "characters of source"),
    "a number of many digits": ("{{ " + "9" * 120_000 + " }}", "Go template"),
    "a number with a huge exponent": ("{{ 1e999999999 }}", "Go template"),
    "a hexadecimal number with a huge exponent": ("{{ 0x1p999999999 }}", "Go template"),
    "fields without end": ("{{ ." + ".a" * 60_000 + " }}", "Go template"),
    "arguments without end": ("{{ print" + " 1" * 60_000 + " | nothing }}", "Go template"),
    "pipes without end": ("{{ 1" + " | print" * 14_000 + " | index 1 }}", "Go template"),
    "a comment without an end": ("{{/* " * 25_000, "Go template"),
    "open braces": ("{{" * 65_000, "Go template"),
}
