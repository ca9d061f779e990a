"""Odd templates: at least 95% proven, none falsely; those that a TEMPLATE can't say are told with their construct."""

from __future__ import annotations

import pytest

from conch_ollama.chat_template.compare import refer, server_for
from conch_ollama.chat_template.conversations import ODD_KIND, conversation
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.verdicts import Proof
from tests.chat_template.mutations import larger_corpus
from tests.chat_template.odd_templates import BOS, LIMITS, ODD, template
from tests.chat_template.oracle import digest, digests

#: Answers with something to cut off: old ones, and open ones as they come back from some template.
CUT = [
    f"{one}{tag}{two}"
    for tag in ("</think>", "[/MUSED]", "◈fin◈", "<reply>")
    for one in ("", "hm", " hm \n", "<think>\nhm\n", f"a{tag}b")
    for two in ("", "yes", "\n\n yes \n", f"yes</reply> or{tag} no")
]
CORPUS = (
    *larger_corpus(160),
    *(
        conversation(ODD_KIND, ("s", "Be kind."), ("u", "Is it?"), ("a", text), ("u", "Sure?"), ("a", other))
        for text, other in zip(CUT, (*CUT[7:], *CUT[:7]), strict=True)
    ),
    *(conversation(ODD_KIND, ("u", "Is it?"), ("a", text), ("u", "Sure?")) for text in CUT),
)
#: Of the odd ones: not proven, and why.
UNPROVEN = {
    ("bos after the system text", True): "a system text that begins with the BOS's own letters is not told from a BOS",
    ("blank messages left out", False): "asks for the trimmed text and prints the whole",
    ("blank messages left out", True): "asks for the trimmed text and prints the whole",
}


def proof(name: str, add_bos: bool) -> Proof:
    return best_template(template(name), add_bos=add_bos, bos_token=BOS, families=())


@pytest.mark.parametrize("add_bos", [False, True], ids=["no-bos", "bos"])
def test_odd_templates_are_proven_and_truly(add_bos: bool) -> None:
    unproven = []
    for name in ODD:
        found = proof(name, add_bos)
        if not found.proven:
            unproven.append(name)
            continue
        jinja = template(name)
        server = server_for(jinja, add_bos, BOS)
        [rendered] = digests([found.template], [one.messages for one in CORPUS])
        assert rendered is not None
        for one, ours in zip(CORPUS, rendered, strict=True):
            wanted = refer(jinja, one).text
            assert wanted is None or digest(server.without_bos(wanted)) == ours, (name, one.messages)
    assert set(unproven) <= {name for name, bos in UNPROVEN if bos == add_bos}
    assert len(unproven) <= 0.05 * len(ODD)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.bad_input("a chat template that a TEMPLATE can't say, by name")
def test_what_a_template_cannot_say(name: str) -> None:
    found = proof(name, False)
    assert not found.proven
    assert LIMITS[name] in found.reason
    assert found.reason or any(not one.holds for one in found.classes.values())
