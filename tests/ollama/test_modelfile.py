from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given

from conch_ollama.errors import BadModelfileError, NotFoundError
from conch_ollama.ollama.modelfile import (
    Modelfile,
    ModelMessage,
    load,
    parse,
    read_text,
    save,
    unwritable,
    writable_template,
    write,
)
from tests.ollama.strategies import modelfiles


@given(modelfiles)
def test_what_is_written_reads_back_equal(modelfile: Modelfile) -> None:
    text = write(modelfile)
    again = parse(text)
    assert again == writable_template(modelfile)
    assert write(again) == text


def test_the_text_of_a_plain_modelfile() -> None:
    modelfile = Modelfile(
        "./magic-conch.q4_K_M.gguf",
        template="{{ .Prompt }}",
        system="You are\nthe conch",
        parameters={"temperature": 1, "num_ctx": 4096, "use_mmap": True, "stop": ("<|im_end|>", "</s>")},
        messages=(ModelMessage("user", "你好"),),
        license=("MIT",),
        comments=("base: SmolLM2", "", "adapter: conch"),
    )
    assert write(modelfile) == (
        "# base: SmolLM2\n#\n# adapter: conch\n"
        "FROM ./magic-conch.q4_K_M.gguf\n"
        'TEMPLATE """{{ .Prompt }}"""\n'
        'SYSTEM """You are\nthe conch"""\n'
        "PARAMETER temperature 1.0\nPARAMETER num_ctx 4096\nPARAMETER use_mmap true\n"
        'PARAMETER stop "<|im_end|>"\nPARAMETER stop "</s>"\n'
        'MESSAGE user """你好"""\n'
        'LICENSE """MIT"""\n'
    )
    assert unwritable(modelfile) == ()


def test_what_ollama_reads_in_other_hands_files() -> None:
    text = (
        "\n  # a comment\n\ufeff"[:-1] + "from   ./a b.gguf  \n"
        "# between\n"
        'Template "one line"\n'
        'SYSTEM """\nkept\n"""   \n'
        'SYSTEM the last "one" wins # not a comment\n'
        "PARAMETER stop </s>\n"
        'PARAMETER stop "\\n"\n'
        "PARAMETER temperature .5\n"
        "PARAMETER top_k +40\n"
        "PARAMETER use_mmap T\n"
        "PARAMETER mirostat 1\n"
        "MESSAGE assistant role: text\n"
        "LICENSE a\nLICENSE b\n"
        "ADAPTER first\nADAPTER second\n"
        "RENDERER qwen3\nPARSER qwen3\nREQUIRES 0.14.0\n"
        "SYSTEM"
        " last\u00a0\u3000one"
    )
    read = parse(text)
    assert read == Modelfile(
        "./a b.gguf",
        template="one line",
        system="lastone",
        parameters={"stop": ("</s>", "\\n"), "temperature": 0.5, "top_k": 40, "use_mmap": True},
        messages=(ModelMessage("assistant", "role: text"),),
        license=("a", "b"),
        adapter="second",
        renderer="qwen3",
        parser="qwen3",
        requires="0.14.0",
        comments=("a comment",),
    )
    assert read.deprecated == ("mirostat",)


def test_a_value_that_the_file_cannot_hold_is_carried_exactly() -> None:
    modelfile = Modelfile("m.gguf", system='全角\u3000空格 and """\nmore', messages=(ModelMessage("user", "a\u00a0b"),))
    assert [u.instruction for u in unwritable(modelfile)] == ["SYSTEM", "MESSAGE user"]
    text = write(modelfile)
    assert parse(text) == modelfile
    edited = text.replace("全角空格 and", "someone's own text")
    assert edited != text
    assert parse(edited).system == "someone's own text '''\nmore"  # the edit wins over the comment


def test_template_escapes_are_no_loss() -> None:
    modelfile = Modelfile("m.gguf", template='a\u00a0b"""\n{{ .Prompt }}')
    assert unwritable(modelfile) == ()
    assert parse(write(modelfile)).template == 'a{{ "\\u00a0" }}b""{{ "\\"" }}\n{{ .Prompt }}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str) -> None:
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    path = tmp_path / "Modelfile"
    path.write_bytes(mark + 'FROM ./海螺.gguf\r\nSYSTEM """一\r\n二"""\r\n'.encode(encoding))
    assert load(path) == Modelfile("./海螺.gguf", system="一\r\n二")


def test_saved_files_are_utf_8_with_the_line_ends_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    modelfile = Modelfile("./海螺.gguf", system="a\r\nb\n")
    save(modelfile, path)
    assert path.read_bytes().startswith("FROM ./海螺.gguf\nSYSTEM".encode())
    assert load(path) == modelfile


FAULTS = [
    ("no FROM", "SYSTEM hi\n", "no FROM line"),
    ("an empty file", "", "no FROM line"),
    ("FROM without a value", "FROM", "'FROM' has no value"),
    ("FROM that names nothing", "FROM \nSYSTEM a\n", "line 1: FROM names nothing"),
    ("a second FROM", "FROM a\nFROM b\n", "line 2: FROM b: a second FROM"),
    ("an unknown instruction", "FROM a\nTEMPERATURE 1\n", "line 2: 'temperature' is not an instruction"),
    ("an instruction with a colon", "FROM: a\n", "line 1: 'FROM: a' is not a name"),
    ("an unknown parameter", "FROM a\nPARAMETER temprature 1\n", "line 2: PARAMETER temprature"),
    ("a parameter after two spaces", "FROM a\nPARAMETER  seed 1\n", "line 2: PARAMETER is followed by more than one"),
    ("a word for a float", "FROM a\nPARAMETER temperature warm\n", "line 2: PARAMETER temperature warm: not a number"),
    ("infinity for a float", "FROM a\nPARAMETER temperature 1e999\n", "PARAMETER temperature: inf"),
    ("a fraction for an integer", "FROM a\nPARAMETER num_ctx 4.5\n", "PARAMETER num_ctx 4.5: not an integer"),
    ("an integer of 65 bits", "FROM a\nPARAMETER seed 9223372036854775808\n", "PARAMETER seed"),
    ("a word for a boolean", "FROM a\nPARAMETER use_mmap yes\n", "PARAMETER use_mmap yes: not true or false"),
    ("triple quotes not closed", 'FROM a\nSYSTEM """never\nends\n', "line 2: the quotes of SYSTEM are not closed"),
    ("a quote not closed", 'FROM a\nPARAMETER stop "x\n', "line 2: the quotes of PARAMETER stop are not closed"),
    ("text after the closing quote", 'FROM a\nSYSTEM "x" y\n', "line 2: the quotes of SYSTEM are not closed"),
    ("an unknown role", "FROM a\nMESSAGE tool x\n", "line 2: MESSAGE tool"),
    ("a draft model", "FROM a\nDRAFT b.gguf\n", "line 2: DRAFT"),
]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param(text, named, marks=pytest.mark.bad_input(f"Modelfile: {cause}"), id=cause)
        for cause, text, named in FAULTS
    ],
)
def test_faults_are_named_with_their_line(text: str, named: str) -> None:
    with pytest.raises(BadModelfileError) as caught:
        parse(text)
    assert caught.value.code == "bad-modelfile"
    assert named in caught.value.message


@pytest.mark.bad_input("Modelfile: saved in GBK")
def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_bytes("FROM a\nSYSTEM 海螺\n".encode("gbk"))
    with pytest.raises(BadModelfileError) as caught:
        load(path)
    assert caught.value.code == "bad-modelfile"
    assert str(path) in caught.value.message
    assert "UTF-8" in str(caught.value.hint)
    assert path.read_bytes() == "FROM a\nSYSTEM 海螺\n".encode("gbk")


@pytest.mark.bad_input("Modelfile: not there")
def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        read_text(tmp_path / "Modelfile")
    assert caught.value.code == "not-found"
    assert str(tmp_path / "Modelfile") in caught.value.message


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_text("SYSTEM x\n", encoding="utf-8")
    with pytest.raises(BadModelfileError, match="no FROM line") as caught:
        load(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"stop": "</s>"}, "stop"),
        ({"num_ctx": 4096.0}, "num_ctx"),
        ({"temperature": "0.7"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"use_mmap": 1}, "use_mmap"),
        ({"top_n": 1}, "top_n"),
    ],
)
@pytest.mark.bad_input("Modelfile: a parameter of another type, given by a program")
def test_parameters_are_checked_when_a_modelfile_is_made(parameters: dict[str, object], named: str) -> None:
    with pytest.raises(BadModelfileError) as caught:
        Modelfile("a", parameters=parameters)  # type: ignore[arg-type]
    assert caught.value.code == "bad-modelfile"
    assert f"PARAMETER {named}" in caught.value.message


def test_comments_are_single_lines() -> None:
    with pytest.raises(BadModelfileError, match="comment"):
        write(Modelfile("a", comments=("one\ntwo",)))
