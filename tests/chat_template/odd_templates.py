"""Chat templates of formats that nobody has published, each with a habit of its own, to find where the compiler fails.

Written for these tests. `LIMITS` are those that a TEMPLATE can't say, with a word of the reason.
"""

# ruff: noqa: E501 a template is a line
from __future__ import annotations

from conch_ollama.chat_template.jinja import JinjaTemplate

BOS, EOS = "<s>", "</s>"
_LOOP = "{% for m in messages %}"
_END = "{% endfor %}"


def template(name: str) -> JinjaTemplate:
    return JinjaTemplate({**ODD, **LIMITS_SOURCES}[name], bos_token=BOS, eos_token=EOS)


ODD: dict[str, str] = {
    # BOS and EOS
    "bos between turns": _LOOP
    + "{% if m.role == 'user' %}{{ bos_token + 'U: ' + m.content + '\n' }}{% else %}{{ m.role|upper + ': ' + m.content + '\n' }}{% endif %}"
    + _END
    + "{% if add_generation_prompt %}ASSISTANT: {% endif %}",
    "bos before every message": _LOOP
    + "{{ bos_token + m.role + '\n' + m.content + eos_token + '\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ bos_token + 'assistant\n' }}{% endif %}",
    "eos only between turns": _LOOP
    + "{% if not loop.first %}{{ eos_token }}{% endif %}{{ '<' + m.role + '>' + m.content }}"
    + _END
    + "{% if add_generation_prompt %}{{ eos_token + '<assistant>' }}{% endif %}",
    "eos after exchanges": _LOOP
    + "{{ '[' + m.role + ']' + m.content }}{% if m.role == 'assistant' and not loop.last %}{{ eos_token }}{% endif %}"
    + _END
    + "{% if add_generation_prompt %}[assistant]{% endif %}",
    "bos twice": "{{ bos_token }}{{ bos_token }}"
    + _LOOP
    + "{{ m.role + ': ' + m.content + '\n' }}"
    + _END
    + "assistant:",
    "bos after the system text": "{% if messages[0].role == 'system' %}{{ messages[0].content + '\n' }}{% set rest = messages[1:] %}"
    "{% else %}{% set rest = messages %}{% endif %}{{ bos_token }}{% for m in rest %}{{ '|' + m.role + '|' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}|assistant|{% endif %}",
    "eos in front": "{{ eos_token }}"
    + _LOOP
    + "{{ m.role }}={{ m.content }};"
    + _END
    + "{% if add_generation_prompt %}assistant={% endif %}",
    # the system text's place
    "system at the end": "{% set ns = namespace(sys='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.sys = m.content %}"
    "{% elif m.role == 'user' %}{{ '<q>' + m.content + '</q>' }}{% else %}{{ '<a>' + m.content + '</a>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{% if ns.sys %}{{ '<rules>' + ns.sys + '</rules>' }}{% endif %}<a>{% endif %}",
    "system before the last question": "{% set ns = namespace(sys='') %}{% if messages[0].role == 'system' %}{% set ns.sys = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}{% if loop.last and ns.sys %}"
    "{{ 'S:' + ns.sys + '\n' }}{% endif %}{{ 'Q:' + m.content + '\n' }}{% else %}{{ 'A:' + m.content + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}",
    "system in every question": "{% if messages[0].role == 'system' %}{% set sys = messages[0].content + ' ' %}{% set rest = messages[1:] %}"
    "{% else %}{% set sys = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if m.role == 'user' %}"
    "{{ '[U] ' + sys + m.content + ' [/U]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
    "system behind the first question": "{% if messages[0].role == 'system' %}{% set sys = messages[0].content %}{% set rest = messages[1:] %}"
    "{% else %}{% set sys = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if m.role == 'user' %}{{ '<u>' + m.content }}"
    "{% if loop.first and sys %}{{ '\n(' + sys + ')' }}{% endif %}{{ '</u>' }}{% else %}{{ '<b>' + m.content + '</b>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<b>{% endif %}",
    "system as a header of all": "{{ '# ' }}{% if messages[0].role == 'system' %}{{ messages[0].content }}{% set messages = messages[1:] %}"
    "{% else %}{{ 'A talk' }}{% endif %}{{ '\n\n' }}{% for m in messages %}{{ '* ' + m.role + ' -- ' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}* assistant -- {% endif %}",
    "a default system by condition": "{% if messages[0].role != 'system' and messages | length == 1 %}{{ '<sys>One question only.</sys>' }}"
    "{% elif messages[0].role != 'system' %}{{ '<sys>A talk.</sys>' }}{% endif %}"
    + _LOOP
    + "{{ '<' + m.role + '>' + m.content + '</>' }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    "a default system by the first word of the role": "{% if messages[0].role not in ['system'] %}<|sys|>Be kind.<|/sys|>{% endif %}"
    + _LOOP
    + "{{ '<|' + m.role[:3] + '|>' + m.content + '<|/' + m.role[:3] + '|>' }}"
    + _END
    + "{% if add_generation_prompt %}<|ass|>{% endif %}",
    "default beside the system": "<sys>Always polite.{% if messages[0].role == 'system' %} {{ messages[0].content }}{% endif %}</sys>"
    "{% for m in messages %}{% if m.role != 'system' %}{{ '<' + m.role + '>' + m.content + '</' + m.role + '>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
    "system with its length asked": "{% if messages[0].role == 'system' and messages[0].content | length > 0 %}{{ 'SYS ' + messages[0].content + '\n' }}{% endif %}"
    "{% for m in messages if m.role != 'system' %}{{ m.role + '> ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant> {% endif %}",
    "system trimmed, default if blank": "{% set sys = messages[0].content | trim if messages[0].role == 'system' else '' %}"
    "{{ '<s1>' + (sys or 'Default rules.') + '</s1>' }}{% for m in messages %}{% if m.role != 'system' %}{{ '<t>' + m.role + ':' + m.content }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<t>assistant:{% endif %}",
    "system in upper case words": "{% for m in messages %}{% if m.role == 'system' %}{{ 'SYSTEM\n' + m.content }}{% elif m.role == 'user' %}{{ '\nUSER\n' + m.content }}"
    "{% else %}{{ '\nASSISTANT\n' + m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '\nASSISTANT\n' }}{% endif %}",
    "system ignored": "{% for m in messages if m.role in ('user', 'assistant') %}{{ '[' + m.role + '] ' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}",
    "system refused by name": "{% if messages | selectattr('role', 'equalto', 'system') | list %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}{{ '«' + m.role + '»' + m.content }}{% endfor %}{% if add_generation_prompt %}«assistant»{% endif %}",
    "system by selectattr": "{% set sys = messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | join('\n') %}"
    "{% if sys %}{{ '{{S}} ' + sys + '\n' }}{% endif %}{% for m in messages | rejectattr('role', 'equalto', 'system') %}{{ m.role[0] | upper + ') ' + m.content + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}A) {% endif %}",
    # trimming
    "only the user's text trimmed": _LOOP
    + "{% if m.role == 'user' %}{{ '<u>' + m.content.strip() }}{% else %}{{ '<' + m.role + '>' + m.content }}{% endif %}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    "only answers stripped at the right": _LOOP
    + "{{ '<' + m.role + '>' + (m.content.rstrip() if m.role == 'assistant' else m.content) + '</>' }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    "questions stripped at the left": _LOOP
    + "{{ '<' + m.role + '>' + (m.content.lstrip() if m.role == 'user' else m.content) + '</>' }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    "line feeds stripped": _LOOP
    + "{{ '<' + m.role + '>' + m.content.strip('\n') + '</>' }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    "spaces and line feeds stripped": _LOOP
    + "{{ '<' + m.role + '>' + m.content.strip(' \n') + '</>' }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    "tabs and spaces stripped": _LOOP
    + "{{ '<' + m.role + '>' + m.content.strip(' \t') + '</>' }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    "all trimmed with their markers": _LOOP
    + "{{ ('### ' + m.role + ': ' + m.content) | trim + '\n' }}"
    + _END
    + "{% if add_generation_prompt %}### assistant:{% endif %}",
    "only the first question trimmed": "{% for m in messages %}{% if loop.first %}{{ m.role + ': ' + m.content | trim + '\n' }}{% else %}{{ m.role + ': ' + m.content + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "only the last message trimmed": "{% for m in messages %}{{ m.role + ': ' + (m.content | trim if loop.last else m.content) + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "a period stripped": _LOOP
    + "{{ '<' + m.role + '>' + m.content.strip(' .') + '</>' }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    # ways of writing
    "macros": "{% macro turn(role, text) %}{{ '<|' + role + '|>\n' + text + '\n<|end|>\n' }}{% endmacro %}"
    + _LOOP
    + "{{ turn(m.role, m.content) }}"
    + _END
    + "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "set blocks": "{% for m in messages %}{% set body %}{{ m.role }}: {{ m.content }}{% endset %}{{ '[[' + body + ']]\n' }}{% endfor %}{% if add_generation_prompt %}[[assistant: {% endif %}",
    "call blocks": "{% macro box(kind) %}<{{ kind }}>{{ caller() }}</{{ kind }}>{% endmacro %}{% for m in messages %}{% call box(m.role) %}{{ m.content }}{% endcall %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
    "loop.index0 % 2": "{% for m in messages %}{% if loop.index0 % 2 == 0 %}{{ '>> ' + m.content + '\n' }}{% else %}{{ '<< ' + m.content + '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}<< {% endif %}",
    "names from a mapping": "{% set names = {'user': 'Human', 'assistant': 'Bot', 'system': 'Rules'} %}"
    + _LOOP
    + "{{ names[m.role] + ': ' + m.content + '\n\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ names['assistant'] + ':' }}{% endif %}",
    "upper case roles": _LOOP
    + "{{ '<' + m.role | upper + '>\n' + m.content + '\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ '<ASSISTANT>\n' }}{% endif %}",
    "title case roles": _LOOP
    + "{{ m.role | title ~ ' says: ' ~ m.content ~ '\n' }}"
    + _END
    + "{% if add_generation_prompt %}Assistant says: {% endif %}",
    "capitalised by method": _LOOP
    + "{{ m.role.capitalize() + ':: ' + m['content'] + '\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ 'Assistant:: ' }}{% endif %}",
    "tokens that nobody has seen": _LOOP
    + "{{ '⟪✦' + m.role + '✦⟫' + m.content + '⟪☾⟫' }}"
    + _END
    + "{% if add_generation_prompt %}⟪✦assistant✦⟫{% endif %}",
    "tokens with braces": _LOOP
    + "{{ '{{' + m.role + '}} ' + m.content + ' {{/}}\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ '{{assistant}} ' }}{% endif %}",
    "tokens with quotes and slashes": _LOOP
    + "{{ '\"' + m.role + '\" \\\\ `' + m.content + '`\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ '\"assistant\" \\\\ `' }}{% endif %}",
    "tokens of white space": _LOOP
    + "{{ m.role + '\t\u3000' + m.content + '\u00a0\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ 'assistant\t\u3000' }}{% endif %}",
    "triple quotes": _LOOP
    + "{{ '\"\"\"' + m.role + '\n' + m.content + '\n\"\"\"\n' }}"
    + _END
    + '{% if add_generation_prompt %}{{ \'"""assistant\n\' }}{% endif %}',
    "carriage returns": _LOOP
    + "{{ m.role + ':\r\n' + m.content + '\r\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ 'assistant:\r\n' }}{% endif %}",
    "XML": "<chat>\n"
    + _LOOP
    + '  <turn role="{{ m.role }}">{{ m.content }}</turn>\n'
    + _END
    + '{% if add_generation_prompt %}  <turn role="assistant">{% endif %}',
    "JSON-like": _LOOP
    + "{{ '{\"role\": \"' + m.role + '\", \"text\": ' }}<<{{ m.content }}>>{{ '}\n' }}"
    + _END
    + '{% if add_generation_prompt %}{{ \'{"role": "assistant", "text": <<\' }}{% endif %}',
    "YAML-like": _LOOP
    + "- {{ m.role }}: |\n    {{ m.content }}\n"
    + _END
    + "{% if add_generation_prompt %}- assistant: |\n    {% endif %}",
    "markdown": _LOOP
    + "{{ '## ' + m.role | capitalize + '\n\n' + m.content + '\n\n---\n\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ '## Assistant\n\n' }}{% endif %}",
    "brackets of two kinds": _LOOP
    + "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% elif m.role == 'system' %}<<SYS>>{{ m.content }}<</SYS>>{% else %}{{ m.content }}{{ eos_token }}{% endif %}"
    + _END,
    "no separator at all": _LOOP
    + "{{ m.content }}{% if m.role == 'user' %}{{ '⇒' }}{% elif m.role == 'assistant' %}{{ '⇐' }}{% endif %}"
    + _END,
    "one token a turn": _LOOP
    + "{{ '<extra_id_1>' if m.role == 'user' else '<extra_id_2>' if m.role == 'assistant' else '<extra_id_0>' }}{{ m.content }}"
    + _END
    + "{% if add_generation_prompt %}<extra_id_2>{% endif %}",
    "assistant header before the text only": _LOOP
    + "{% if m.role == 'assistant' %}{{ 'Response: ' + m.content + '\n' }}{% else %}{{ 'Input: ' + m.content + '\n' }}{% endif %}"
    + _END
    + "{% if add_generation_prompt %}Response: {% endif %}",
    "generation prompt with a thought": _LOOP
    + "{{ '<|' + m.role + '|>' + m.content + '<|e|>' }}"
    + _END
    + "{% if add_generation_prompt %}{{ '<|assistant|><think>\n' }}{% endif %}",
    "generation prompt always": _LOOP
    + "{{ m.role + ': ' + m.content + '\n' }}"
    + _END
    + "{% if messages[-1].role == 'user' %}assistant: {% endif %}",
    "generation prompt longer than the lead": _LOOP
    + "{{ '<' + m.role + '>' + m.content + '</' + m.role + '>\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ '<assistant>Sure! ' }}{% endif %}",
    "a note before the generation prompt": _LOOP
    + "{{ '<' + m.role + '>' + m.content + '\n' }}"
    + _END
    + "{% if add_generation_prompt %}{{ '(your turn)\n<assistant>' }}{% endif %}",
    "no generation prompt": _LOOP + "{{ m.role + '|' + m.content + '|' }}" + _END,
    # by place
    "the first question apart": "{% for m in messages %}{% if loop.first and m.role == 'user' %}{{ 'Begin. ' }}{% endif %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    "the last question apart": "{% for m in messages %}{% if loop.last and m.role == 'user' %}{{ 'NOW ' }}{% endif %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    "the last question in another tag": "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ ('<q!>' if loop.index0 == ns.last else '<q>') + m.content }}{% else %}{{ '<' + m.role + '>' + m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "history in one block": "{% if messages | length > 1 %}{{ '<history>' }}{% endif %}{% for m in messages %}{% if loop.last and not loop.first %}{{ '</history>' }}{% endif %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "separators between turns": "{% for m in messages %}{{ m.role + ': ' + m.content }}{{ '\n---\n' if not loop.last else '' }}{% endfor %}{% if add_generation_prompt %}{{ '\n---\nassistant: ' }}{% endif %}",
    "two separators": "{% set seps = [' ', eos_token] %}{% for m in messages %}{{ m.role + ': ' + m.content + seps[0 if m.role != 'assistant' else 1] }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
    "a loop over pairs": "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}"
    "{% for m in rest %}{% if loop.index0 is even %}{{ 'Q. ' + m.content + '\n' }}{% else %}{{ 'A. ' + m.content + '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}A.{% endif %}",
    "strict roles": "{% for m in messages %}{% if m.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('who is ' + m.role) }}{% endif %}{{ '<' + m.role + '>' + m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "strict order": "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('order') }}{% endif %}{{ m.role[:1] + '|' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}a|{% endif %}",
    "strict order after the system": "{% set off = 1 if messages[0].role == 'system' else 0 %}{% for m in messages[off:] %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('order') }}{% endif %}{% endfor %}"
    "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '<.>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "a question must come last": "{% if messages[-1].role != 'user' and add_generation_prompt %}{{ raise_exception('ask') }}{% endif %}"
    + _LOOP
    + "{{ '<' + m.role + '>' + m.content }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    "break at nothing": "{% for m in messages %}{% if m.role == 'stop' %}{% break %}{% endif %}{{ '<' + m.role + '>' + m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "continue over the system": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ '<' + m.role + '>' + m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "contents as parts": "{% for m in messages %}{{ '<' + m.role + '>' }}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}{{ '</>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "empty messages left out": "{% for m in messages %}{% if m.content %}{{ '<' + m.role + '>' + m.content + '</>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "blank messages left out": "{% for m in messages %}{% if m.content | trim %}{{ '<' + m.role + '>' + m.content + '</>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "empty answers marked": "{% for m in messages %}{{ '<' + m.role + '>' + (m.content or '(nothing)') + '</>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "thoughts cut from answers": "{% for m in messages %}{% set c = m.content %}{% if m.role == 'assistant' and '</think>' in c %}{% set c = c.split('</think>')[-1] %}{% endif %}{{ '<' + m.role + '>' + c + '<e>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "thoughts cut from old answers only": "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{% set c = m.content %}"
    "{% if m.role == 'assistant' and '</think>' in c and loop.index0 < ns.last %}{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}{{ '<' + m.role + '>' + c + '<e>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "a thought cut at a tag of its own": "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% set c = m.content %}{% if m.role == 'assistant' and loop.index0 < ns.last and '[/MUSED]' in c %}{% set c = c.split('[/MUSED]')[-1].strip() %}{% endif %}"
    "{{ '[' ~ m.role ~ ']' ~ c ~ '[/' ~ m.role ~ ']' }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
    "cut after the first tag": "{% for m in messages %}{% set c = m.content %}{% if m.role == 'assistant' and '◈fin◈' in c %}{% set c = c.split('◈fin◈', 1)[1] %}{% endif %}"
    "{{ '<' ~ m.role ~ '>' ~ c ~ '</>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "what stands between two tags": "{% for m in messages %}{% set c = m.content %}{% if m.role == 'assistant' and not loop.last and '<reply>' in c %}"
    "{% set c = c.split('<reply>')[-1].split('</reply>')[0].strip() %}{% endif %}{{ '<' ~ m.role ~ '>' ~ c ~ '</>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "stripped only where something was cut": "{% for m in messages %}{% set c = m.content %}{% if m.role == 'assistant' and '</think>' in c %}{% set c = c.split('</think>')[-1].strip() %}{% endif %}"
    "{{ '|' ~ m.role ~ '|' ~ c ~ '|.|' }}{% endfor %}{% if add_generation_prompt %}|assistant|{% endif %}",
    "stripped before something is cut": "{% for m in messages %}{% set c = m.content | trim %}{% if m.role == 'assistant' and '</think>' in c %}{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '(' ~ m.role ~ ')' ~ c ~ '(.)' }}{% endfor %}{% if add_generation_prompt %}(assistant){% endif %}",
    "thoughts told anew": "{% for m in messages %}{{ '⟨' ~ m.role ~ '⟩' }}{% if m.role == 'assistant' %}{% set c = m.content %}{% set t = '' %}{% if '</think>' in c %}"
    "{% set t = c.split('</think>')[0].split('<think>')[-1].strip('\n') %}{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<think>\n' ~ t ~ '\n</think>\n\n' ~ c }}{% else %}{{ m.content }}{% endif %}{{ '⟨/⟩' }}{% endfor %}{% if add_generation_prompt %}⟨assistant⟩<think>\n{% endif %}",
    "thinking by a switch": _LOOP
    + "{{ '<' + m.role + '>' + m.content + '<e>' }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}{% endif %}{% endif %}",
    "thinking on by a switch": _LOOP
    + "{{ '<' + m.role + '>' + m.content + '<e>' }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% if enable_thinking %}{{ '<think>\n' }}{% endif %}{% endif %}",
    "a system text changed by a switch": "{% if messages[0].role == 'system' %}{{ '<sys>' + messages[0].content + (' /think' if enable_thinking else '') + '</sys>' }}{% endif %}{% for m in messages if m.role != 'system' %}{{ '<' + m.role + '>' + m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "options with defaults": "{% set tone = tone | default('calm') %}{{ '(' + tone + ')\n' }}"
    + _LOOP
    + "{{ m.role + ': ' + m.content + '\n' }}"
    + _END
    + "{% if add_generation_prompt %}assistant: {% endif %}",
    "a fixed date": "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ 'Today: ' + date_string + '\n' }}"
    + _LOOP
    + "{{ m.role + ': ' + m.content + '\n' }}"
    + _END
    + "{% if add_generation_prompt %}assistant: {% endif %}",
    "in a language of its own": _LOOP
    + "{% if m.role == 'user' %}{{ '问：' + m.content + '\n' }}{% elif m.role == 'assistant' %}{{ '答：' + m.content + '\n' }}{% else %}{{ '规则：' + m.content + '\n' }}{% endif %}"
    + _END
    + "{% if add_generation_prompt %}答：{% endif %}",
    "replaced in a marker": _LOOP
    + "{{ '<|X|>'.replace('X', m.role) + m.content + '<|/X|>'.replace('X', m.role) }}"
    + _END
    + "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "format": _LOOP
    + "{{ '<%s>%s</%s>' % (m.role, m.content, m.role) }}"
    + _END
    + "{% if add_generation_prompt %}<assistant>{% endif %}",
    "join": "{% set ns = namespace(out=[]) %}"
    + _LOOP
    + "{% set ns.out = ns.out + [m.role + ': ' + m.content] %}"
    + _END
    + "{{ ns.out | join('\n\n') }}{% if add_generation_prompt %}{{ '\n\nassistant: ' }}{% endif %}",
    "everything by namespace": "{% set ns = namespace(t='') %}"
    + _LOOP
    + "{% set ns.t = ns.t + '[' + m.role + ']' + m.content + '\n' %}"
    + _END
    + "{{ ns.t }}{% if add_generation_prompt %}[assistant]{% endif %}",
    "everything trimmed at the end": "{% set ns = namespace(t='') %}"
    + _LOOP
    + "{% set ns.t = ns.t + '[' + m.role + ']' + m.content + '[end]\n' %}"
    + _END
    + "{{ ns.t | trim }}{% if add_generation_prompt %}{{ '\n[assistant]' }}{% endif %}",
    "indented": "{%- for m in messages -%}\n    {{- '<' + m.role + '>' -}}\n    {{- m.content -}}\n    {{- '</' + m.role + '>' -}}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n    {{- '<assistant>' -}}\n{%- endif -%}\n",
    "literal lines": "{% for m in messages %}\n{{ m.role }}\n{{ m.content }}\n\n{% endfor %}\n{% if add_generation_prompt %}\nassistant\n{% endif %}",
    "system joined to the first question by lines": "{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{{ '<turn>' + m.role + '\n' + (first if loop.first else '') + m.content | trim + '</turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}",
    "a model called model": "{% for m in messages %}{{ '<turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + '</turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}",
    "a marker with the question's number word": "{% for m in messages %}{% if m.role == 'user' %}{{ ('First' if loop.first else 'Next') + ' question: ' + m.content + '\n' }}{% else %}{{ m.role + ': ' + m.content + '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    "the conversation's last answer open": "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% if not (loop.last and m.role == 'assistant') %}{{ '<e>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "lead only after another role": "{% for m in messages %}{% if loop.first or loop.previtem.role != m.role %}{{ '<' + m.role + '>' }}{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "tail by the next role": "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% if loop.nextitem is defined and loop.nextitem.role == 'user' %}{{ '<over>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "a cycle of marks": "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}{% for m in rest %}{{ loop.cycle('+', '-') + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}-{% endif %}",
    "a question as a heading": "{% for m in messages %}{% if m.role == 'user' %}{{ '=' * 3 + ' ' + m.content + ' ' + '=' * 3 + '\n' }}{% else %}{{ m.content + '\n' }}{% endif %}{% endfor %}",
    "numbered rounds": "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}[Round {{ loop.index // 2 + 1 }}]\n{{ 'Q: ' + m.content + '\n' }}{% else %}{{ 'A: ' + m.content + '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}A: {% endif %}",
    "numbered messages": "{% for m in messages %}{{ loop.index }}. {{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}{{ messages | length + 1 }}. assistant: {% endif %}",
    "numbered from zero": "{% for m in messages %}{{ '<' + m.role + ' n=' ~ loop.index0 ~ '>' + m.content + '</' ~ loop.index0 ~ '>' }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant n=' ~ (messages | length) ~ '>' }}{% endif %}",
    "numbered rounds behind the system text": "{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ '[Round ' ~ (loop.index0 // 2) ~ ']\n\n问：' + m.content + '\n\n' }}{% else %}{{ '答：' + m.content + '\n\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}答：{% endif %}",
    "numbered questions in extra ids": "{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = ns.n + 1 %}{{ '<extra_id_1>Q' ~ ns.n ~ ': ' + m.content }}{% elif m.role == 'assistant' %}{{ '<extra_id_2>A' ~ ns.n ~ ': ' + m.content }}{% else %}{{ '<extra_id_0>' + m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<extra_id_2>A' ~ ns.n ~ ': ' }}{% endif %}",
}

#: name -> a word of what is said against it
LIMITS: dict[str, str] = {
    "numbered from the end": "how many turns",
    "reversed order": "moved",
    "only the last two rounds": "moved",
    "the first question twice": "repeated",
    "replaced in a text": "a change to",
    "upper case questions": "not printed",
    "the length of a text": "",
    "JSON texts": "a change to",
    "cut to a length": "a change to",
    "by what is asked": "",
    "a thousand answers": "how many turns",
    "white space made one space": "a change to",
    "a line feed where there is none": "a change to",
}

LIMITS_SOURCES: dict[str, str] = {
    "numbered from the end": "{% for m in messages %}{{ loop.revindex }}. {{ m.content }}\n{% endfor %}",
    "reversed order": "{% for m in messages | reverse %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}",
    "only the last two rounds": "{% for m in messages[-3:] %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    "the first question twice": "{{ messages[0].content }}\n" + _LOOP + "{{ m.role + ': ' + m.content + '\n' }}" + _END,
    "replaced in a text": _LOOP + "{{ m.role + ': ' + m.content | replace('a', 'b') + '\n' }}" + _END,
    "upper case questions": _LOOP + "{{ m.role + ': ' + m.content | upper + '\n' }}" + _END,
    "the length of a text": _LOOP + "{{ m.role + ' ' }}{{ m.content | length }}{{ ': ' + m.content + '\n' }}" + _END,
    "JSON texts": _LOOP + "{{ m.role + ': ' + m.content | tojson + '\n' }}" + _END,
    "cut to a length": _LOOP + "{{ m.role + ': ' + m.content[:100] + '\n' }}" + _END,
    "by what is asked": _LOOP + "{{ m.role + ('?: ' if m.content.endswith('?') else ': ') + m.content + '\n' }}" + _END,
    "white space made one space": _LOOP + "{{ m.role + ': ' + m.content.split() | join(' ') + '\n' }}" + _END,
    "a line feed where there is none": _LOOP
    + "{{ m.role + ': ' + m.content }}{% if not m.content.endswith('\n') %}{{ '\n' }}{% endif %}"
    + _END,
    "a thousand answers": "{{ messages | length }} messages\n"
    + _LOOP
    + "{{ m.role + ': ' + m.content + '\n' }}"
    + _END,
}
