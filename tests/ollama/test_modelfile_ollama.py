"""What we write is read by the real `ollama create -f`, and /api/show tells what it understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from conch_ollama.ollama.client import model_info
from conch_ollama.ollama.grammar import stand_in
from conch_ollama.ollama.modelfile import Modelfile, ModelMessage, parse, save, writable_template
from conch_ollama.ollama.parameters import ParameterValue, differing_parameters
from tests.ollama.conftest import CHATML
from tests.parts.ollama import OllamaServer

NASTY = [
    "plain",
    'ends with "',
    '"starts and ends"',
    '"',
    '""',
    'a line ends with "\nand """ stands in mid-line',
    "\n\nnew lines around\n\n",
    "  spaces\taround \t",
    "crlf\r\nand cr\rkept",
    "no \\n escape, no 'single' quotes",
    "# no comment\nFROM nothing\nPARAMETER seed 9",
    "海螺｜▁🍔 ñ e\u0301 \ufffd",
]


@pytest.mark.parametrize("value", NASTY)
def test_ollama_reads_the_same_values(
    ollama_server: OllamaServer, small_gguf: Path, tmp_path: Path, value: str
) -> None:
    modelfile = Modelfile(
        str(small_gguf),
        template=CHATML + "{{/*" + value + "*/}}" + value,
        system=value,
        parameters={"stop": (value, "</s>"), "temperature": 0.1, "min_p": 1e-7, "seed": -(2**53), "use_mmap": False},
        messages=(ModelMessage("user", value), ModelMessage("assistant", ": " + value)),
        license=(value, "MIT"),
        comments=("base: SmolLM2", "", value.replace("\r", " ").replace("\n", " ")),
    )
    check(ollama_server, modelfile, tmp_path)


def test_ollama_reads_the_escaped_template(ollama_server: OllamaServer, small_gguf: Path, tmp_path: Path) -> None:
    template = CHATML + 'a\u00a0\u3000b"""\n{{ if eq "\u200d" "x" }}{{ `\u00ad\n` }}{{ end }}{{/* \u2028 */}}'
    check(ollama_server, Modelfile(str(small_gguf), template=template, parameters={"stop": ("x",)}), tmp_path)


def test_ollama_reads_the_stand_in(ollama_server: OllamaServer, small_gguf: Path, tmp_path: Path) -> None:
    modelfile = Modelfile(
        str(small_gguf), template=CHATML, system='全角\u3000 """\nx', parameters={"stop": ("a\u00a0",)}
    )
    save(modelfile, tmp_path / "Modelfile")
    assert parse((tmp_path / "Modelfile").read_text(encoding="utf-8")) == modelfile
    ollama_server.run("create", "nasty", "-f", tmp_path / "Modelfile")
    shown = model_info("nasty", ollama_server.host)
    assert shown.system == stand_in('全角\u3000 """\nx') == "全角 '''\nx"
    assert shown.parameters == {"stop": ("a",)}


def test_ollama_reads_every_parameter(ollama_server: OllamaServer, small_gguf: Path, tmp_path: Path) -> None:
    parameters: dict[str, ParameterValue] = {
        **{"temperature": 0.7, "top_p": 0.95, "min_p": 0.05, "typical_p": 1.0, "repeat_penalty": 1.1},
        **{"presence_penalty": -1.5, "frequency_penalty": 3.4e38, "num_ctx": 4096, "num_keep": 4, "num_predict": -1},
        **{"seed": 2**31, "top_k": 40, "repeat_last_n": 64, "num_batch": 512, "num_gpu": 0, "main_gpu": 0},
        **{"num_thread": 2, "use_mmap": True, "stop": ("</s>",)},
    }
    check(ollama_server, Modelfile(str(small_gguf), template=CHATML, parameters=parameters), tmp_path)


def test_paths_with_spaces_and_chinese(ollama_server: OllamaServer, small_gguf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "出 口"
    folder.mkdir()
    (folder / '海螺 "1".gguf').symlink_to(small_gguf)
    check(ollama_server, Modelfile('./海螺 "1".gguf', template=CHATML, parameters={"stop": ("x",)}), folder)


def check(server: OllamaServer, modelfile: Modelfile, folder: Path) -> None:
    save(modelfile, folder / "Modelfile")
    server.run("create", "nasty", "-f", folder / "Modelfile")
    shown = model_info("nasty", server.host)
    written = writable_template(modelfile)
    assert shown.template == written.template
    assert shown.system == (written.system or "")
    assert differing_parameters(written.parameters, shown.parameters) == []
    assert shown.messages == written.messages
    assert shown.license == "\n".join(written.license)
