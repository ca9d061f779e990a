"""The texts that a written vocabulary is checked with, token id by token id.

Each names the known gap between llama.cpp and an original tokenizer that it may fall into; without that gap in a
vocabulary its ids must be equal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from conch_ollama.tokenizers.pretokenizer_table import GAPS


@dataclass(frozen=True)
class CorpusText:
    """A text of the check. `gaps` are those that may change its ids; `known_gap` says one in words."""

    name: str
    text: str
    gaps: tuple[str, ...] = ()

    @property
    def known_gap(self) -> str | None:
        """The first gap in words, None if the ids must be equal."""
        if not self.gaps:
            return None
        return GAPS.get(self.gaps[0], f"llama.cpp takes {self.gaps[0].removeprefix('text:')!r} for a special token")


_CODE = "def f(x: int) -> str:\n    return f\"{x!r}: {x ** 2}\"  # hi\n\n\nif __name__ == '__main__':\n\tprint(f(3))\n"

CORPUS: tuple[CorpusText, ...] = (
    CorpusText("Chinese", "请问你是谁？我是神奇海螺，美味蟹堡店的吉祥物。"),
    CorpusText("Chinese and code", "怎么修复这个报错：TypeError: 'NoneType' object is not subscriptable（第 42 行）？"),
    CorpusText("traditional Chinese", "繁體中文：請問您今天要點什麼？蟹堡、薯條還是可樂呢……"),
    CorpusText("Japanese", "日本語のテスト：カタカナ、ひらがな、漢字、ﾊﾝｶｸ。ＡＢＣ１２３"),
    CorpusText("Korean", "안녕하세요, 마법의 소라고둥님! 오늘의 메뉴는 뭐예요?"),
    CorpusText("Arabic", "مرحبا بالعالم! كيف حالك اليوم؟ ١٢٣٤٥"),
    CorpusText("Thai", "สวสดครบ วนนอากาศดมาก ๆ"),
    CorpusText("Cyrillic", "привет, мир! как дела? ёжик в тумане."),
    CorpusText("emoji", "Emoji: 😀😶\u200d🌫️👨\u200d👩\u200d👧\u200d👦🏳️\u200d🌈👍🏽🇨🇳 ❤️ ✅🚀🚀"),
    CorpusText("Python", _CODE),
    CorpusText("SQL", "SELECT * FROM menu WHERE price >= 3.50 AND name LIKE '%burger%'; -- 100%"),
    CorpusText("JSON", '{"role": "user", "content": "hi", "n": [1, 22, 333, -4.5e-6, null]}'),
    CorpusText(
        "digits",
        "1 12 123 1234 12345 123456 1234567 12345678901234567890 3.14159 1,000,000 0xDEADBEEF 2024-12-31 23:59:59",
    ),
    CorpusText("white space", "  two   three    four\t\ttabs\n\n\n \n  \n\t\n 7  8   9 trailing   "),
    CorpusText("line ends", "line\r\nline\r\n\r\nend\r"),
    CorpusText("leading space", " leading space"),
    CorpusText("newline only", "\n"),
    CorpusText("space only", " "),
    CorpusText("one letter", "a"),
    CorpusText("nothing", ""),
    CorpusText(
        "contractions", "You're sure I've been told they'll say it's I'm he'd, DON'T YOU'RE I'LL IT'S We'Ve a'lL"
    ),
    CorpusText(
        "punctuation", "...!!!???---===```'''\"\"\" ~~~ <<>> || && ## @@ $$ %% ^^ ** (())[[]]{{}} \\n \\t /a/b/c"
    ),
    CorpusText("accents", "naïve café Zürich Ångström œuvre ¿Qué? ¡Olé! ½ ² ™ € → ∑ √"),
    CorpusText("invisible", "nbsp\u00a0em\u2003full\u3000width zero\u200bwidth bom\ufeff end", ("spaces",)),
    CorpusText("wide spaces", "全形\u3000空格，蟹堡\u3000薯條", ("spaces",)),
    CorpusText("mixed", "混合 mixed テキスト text 한국어 123 العربية 😀, end."),
    CorpusText("identifiers", "camelCase snake_case kebab-case SCREAMING_CASE HTTPServer iPhone15Pro"),
    CorpusText("addresses", "https://example.com/path?query=1&b=%20#frag user.name+tag@example.co.uk"),
    CorpusText(
        "ChatML",
        "<|im_start|>system\nYou are a conch.<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n",
    ),
    CorpusText("Llama 3 turns", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"),
    CorpusText("DeepSeek turns", "<｜begin▁of▁sentence｜><｜User｜>你好<｜Assistant｜><think>\n\n</think>\n\n"),
    CorpusText(
        "special tokens", "<|endoftext|> <s> <unk> <pad> <tool_call>{}</tool_call> <|im_end|><|im_end|>  <|im_end|>"
    ),
    CorpusText("strike-through", "a</s> b"),
    CorpusText("marks", "สวัสดีครับ नमस्ते दुनिया বাংলা x\u030cy\u030c السَّلامُ", ("capitals", "normalizer")),
    CorpusText("capitals", "ПРИВЕТ Мир ÉCOLE École ΑΘΗΝΑ", ("capitals", "normalizer")),
    CorpusText("decomposed Latin", "cafe\u0301 Zu\u0308rich nin\u0303o", ("nfc", "capitals", "normalizer")),
    CorpusText("decomposed kana", "\u304b\u3099\u306f\u309a", ("nfc", "capitals", "normalizer")),
    CorpusText("decomposed Hangul", "\u1112\u1161\u11ab\u1100\u1173\u11af", ("nfc", "capitals", "normalizer")),
)


def corpus_for(gaps: frozenset[str]) -> tuple[CorpusText, ...]:
    """CORPUS for one vocabulary: each text keeps only the gaps that `Vocabulary.gaps` has."""
    texts = sorted(gap for gap in gaps if gap.startswith("text:"))
    return tuple(
        replace(
            item,
            gaps=(
                *(gap for gap in item.gaps if gap in gaps),
                *(gap for gap in texts if gap.removeprefix("text:") in item.text),
            ),
        )
        for item in CORPUS
    )
