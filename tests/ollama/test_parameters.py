from __future__ import annotations

import pytest

from conch_ollama.ollama.parameters import differing_parameters, parse_shown


def test_what_show_prints_is_read() -> None:
    text = "\n".join(
        [
            'stop                           "<|im_start|>"',
            'stop                           "a\\u00a0\\"\\n\\x01\\U000e0001😀\\a"',
            "temperature                    0.7",
            "num_ctx                        4096",
            "seed                           1e+06",
            "use_mmap                       true",
        ]
    )
    assert parse_shown(text) == {
        "stop": ("<|im_start|>", 'a\u00a0"\n\x01\U000e0001😀\x07'),
        "temperature": 0.7,
        "num_ctx": 4096,
        "seed": 1e6,
        "use_mmap": True,
    }
    assert parse_shown("") == {}


@pytest.mark.parametrize(
    ("meant", "shown", "names"),
    [
        ({"temperature": 0.7}, {"temperature": 0.699999988079071}, []),
        ({"temperature": 0.7}, {"temperature": 0.8}, ["temperature"]),
        ({}, {"stop": ("<|im_end|>",)}, ["stop"]),
        ({"stop": ("a", "b")}, {"stop": ("b", "a")}, ["stop"]),
        ({"stop": ()}, {}, []),
        ({"seed": 16777217}, {"seed": 16777216}, ["seed"]),
        ({"seed": 1000000}, {"seed": 1e6}, []),
        ({"seed": 1, "top_k": 2}, {"top_k": 2.0}, ["seed"]),
        ({"use_mmap": True}, {"use_mmap": 1}, []),
    ],
)
def test_differences(meant: dict[str, object], shown: dict[str, object], names: list[str]) -> None:
    assert [name for name, _, _ in differing_parameters(meant, shown)] == names  # type: ignore[arg-type]
