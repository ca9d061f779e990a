"""conch.toml: what it may hold, what it must not, and that a changed one is taken over."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from conch_ollama.errors import BadConfigError, ConchError, NotFoundError, UsageError
from conch_ollama.runtimes.bounds import Bounds
from conch_ollama.runtimes.llama_models import Adapter
from conch_ollama.server.settings import Route, Settings
from conch_ollama.workflows.serve_config import ConfigFile
from conch_ollama.workflows.serve_models import OllamaPlan, ServePlan, UpstreamPlan, plan_target
from conch_ollama.workflows.serve_options import plan_command, with_options

WHOLE = """
host = "0.0.0.0"
port = 9000
reasoning_field = "reasoning"
default_model = "magic"
feedback = "ratings.sqlite"

[limits]
queue = 16
first_token_s = 60

[security]
keys = "keys.json"
networks = ["10.0.0.0/8", "192.168.1.7"]
origins = ["https://chat.example"]

[security.jwt]
algorithms = ["HS256"]
audience = "conch"
secret_env = "CONCH_TEST_SECRET"

[audit]
file = "audit.jsonl"

[llama]
max_loaded = 2
memory = "4GB"
hung_s = 12

[models.magic]
path = "model.gguf"
num_ctx = 2048
keep_alive = "10m"
options = { temperature = 0.2 }
adapters = [{ path = "lora.gguf", scale = 0.5 }]
version = "v2"
networks = ["10.1.0.0/16"]
queue = 4

[models.general]
ollama = "qwen3:8b"
host = "other:11434"
system = "Be brief."

[models.cloud]
upstream = ["https://api.example/v1", "https://api2.example/v1"]
model = "big"
key_env = "CONCH_TEST_SECRET"
defaults = { temperature = 0.1, max_tokens = 100 }
capabilities = ["thinking", "tools"]

[models.cloud-too]
upstream = ["https://api.example/v1", "https://api2.example/v1"]
key_env = "CONCH_TEST_SECRET"

[models.keyless]
upstream = "https://api.example/v1"

[aliases]
gpt-4o = "magic"
ask = [{ model = "magic", keys = ["sales-*"] }, { model = "cloud" }]
"""


@pytest.fixture
def folder(tmp_path: Path, smollm2_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model.gguf").symlink_to(smollm2_gguf)
    monkeypatch.setenv("CONCH_TEST_SECRET", "s" * 40)
    return tmp_path


def plan(folder: Path, text: str) -> ServePlan:
    (folder / "conch.toml").write_text(text, encoding="utf-8")
    return ConfigFile(folder / "conch.toml").read()


def test_everything_that_it_may_hold(folder: Path) -> None:
    found = plan(folder, WHOLE)
    settings = found.settings
    assert (settings.host, settings.port, settings.reasoning_field) == ("0.0.0.0", 9000, "reasoning")
    assert (settings.limits.queue, settings.limits.first_token_s) == (16, 60.0)
    assert settings.security.keys == folder / "keys.json"
    assert settings.security.tokens is not None
    assert settings.security.tokens.secret == "s" * 40
    assert "s" * 40 not in repr(settings)
    assert str(settings.security.networks[1]) == "192.168.1.7/32"
    assert settings.routes == (Route("gpt-4o", "magic"), Route("ask", "magic", ("sales-*",)), Route("ask", "cloud"))
    (magic,) = found.llama
    assert (magic.num_ctx, magic.keep_alive, magic.version) == (2048, 600.0, "v2")
    assert magic.adapters == (Adapter(folder / "lora.gguf", 0.5),)
    assert magic.options == {"temperature": 0.2}
    models = settings.models
    assert (models["general"].system, models["cloud"].defaults["max_tokens"]) == ("Be brief.", 100)
    assert found.others[models["general"].runtime] == OllamaPlan("other:11434")
    assert models["cloud"].runtime == models["cloud-too"].runtime != models["keyless"].runtime
    upstream = found.others[models["cloud"].runtime]
    assert isinstance(upstream, UpstreamPlan)
    assert len(upstream.urls) == 2
    assert models["cloud"].capabilities == {"thinking", "tools"}
    assert "s" * 40 not in repr(found) + models["cloud"].runtime
    assert found.bounds == Bounds(max_loaded=2, memory=4 * 10**9, hung_s=12.0)


def test_the_example_of_the_docs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_KEY", "k")
    docs = (Path(__file__).parents[2] / "docs/serve.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", docs, re.DOTALL)
    (folder / "out").mkdir()
    (folder / "out" / "Modelfile").write_text("FROM ../model.gguf\n", encoding="utf-8")
    (folder / "base.gguf").symlink_to(folder / "model.gguf")
    found = plan(folder, text)
    assert [(model.name, model.version) for model in found.llama] == [
        ("magic-conch@v1", "v1"),
        ("magic-conch@v2", "v2"),
    ]
    assert found.settings.routes[0] == Route("magic-conch", "magic-conch@v2")
    assert set(found.settings.models) == {"magic-conch@v1", "magic-conch@v2", "sales", "general"}


@pytest.mark.bad_input("keys of conch.toml that are misspelt or of another type")
@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[models.m]\npath='model.gguf'\nnetwork=['10.0.0.0/8']", "models.m.network"),
        ("[models.m]\npath='model.gguf'\n[security]\nkey='x'", "security.key"),
        ("[models.m]\npath='model.gguf'\n[limits]\nqueue='x'", "limits.queue"),
        ("[models.m]\npath='model.gguf'\n[limits]\nqueue=-1", "limits.queue"),
        ("[models.m]\npath='model.gguf'\n[limits]\nquue=1", "limits.quue"),
        ("[models.m]\npath='model.gguf'\nslots=true", "models.m.slots"),
        ("[models.m]\npath='model.gguf'\nollama='x'", "models.m"),
        ("[models.m]\nnum_ctx=1", "models.m"),
        ("[models.m]\npath='model.gguf'\nnetworks=['300.0.0.0/8']", "300.0.0.0"),
        ("[models.m]\npath='model.gguf'\nkeep_alive='soon'", "soon"),
        ("[models.m]\nupstream='http://x/v1'\nkey_env='CONCH_NOT_SET'", "CONCH_NOT_SET"),
        ("[models.m]\nupstream='http://x/v1'\ncapabilities=['dancing']", "dancing"),
        ("[models.m]\npath='model.gguf'\n[aliases]\na='nix'", "nix"),
        ("[models.m]\npath='model.gguf'\n[security.jwt]\nalgorithm='RS256'", "security.jwt.algorithm"),
        ("port='x'\n[models.m]\npath='model.gguf'", "port"),
        ("[models.m]\npath='model.gguf'\n[llama]\nmemory='much'", "much"),
        ("[models.m]\npath='model.gguf'\n[llama]\nmax_loaded=0", "llama.max_loaded"),
        ("[models.m]\npath='model.gguf'\n[llama]\nhung_s=-1", "llama.hung_s"),
        ("models='x'", "models"),
        ("", "models"),
        ("[models", "conch.toml"),
    ],
)
def test_what_it_must_not_hold(folder: Path, text: str, named: str) -> None:
    with pytest.raises(BadConfigError) as caught:
        plan(folder, text)
    assert named in caught.value.message
    assert "conch.toml" in caught.value.message
    assert caught.value.code == "bad-config"


@pytest.mark.bad_input("a configuration or a model of it that is not there")
def test_what_is_not_there(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"conch\.toml"):
        ConfigFile(folder / "conch.toml").read()
    with pytest.raises(NotFoundError, match=r"nix\.gguf"):
        plan(folder, "[models.m]\npath='nix.gguf'")


def test_it_is_read_again_only_when_it_has_changed(folder: Path) -> None:
    text = "[models.m]\npath='model.gguf'\n"
    file = ConfigFile(
        folder / "conch.toml", lambda p: dataclasses.replace(p, settings=with_options(p.settings, port=1))
    )
    file.path.write_text(text, encoding="utf-8")
    assert file.read().settings.port == 1
    assert file.reread() is None
    file.path.write_text(text.replace(".m]", ".other]"), encoding="utf-8")
    changed = file.reread()
    assert changed is not None
    assert list(changed.settings.models) == ["other"]
    assert changed.settings.port == 1
    file.path.write_text("[models", encoding="utf-8")
    with pytest.raises(BadConfigError):
        file.reread()
    assert file.reread() is None, "a wrong file is told once"
    file.path.unlink()
    assert file.reread() is None


def test_runtimes_that_did_not_change_are_kept(folder: Path) -> None:
    text = "[models.a]\nollama='x'\n[models.b]\nupstream='http://one/v1'\n[models.m]\npath='model.gguf'\n"
    before = plan(folder, text)
    running = before.start()
    after = plan(folder, text.replace("http://one", "http://two") + "num_ctx=512\n")
    now = after.start(running, before)
    assert now["ollama"] is running["ollama"]
    assert now["llama.cpp"] is running["llama.cpp"]
    assert set(now) - set(running) == {"openai two"}


def test_what_the_command_line_names(folder: Path, tmp_path: Path) -> None:
    gguf = plan_target(str(folder / "model.gguf"), Settings(), num_ctx=512)
    assert (gguf.llama[0].name, gguf.llama[0].num_ctx) == ("model", 512)
    assert gguf.load_first == ("llama.cpp", "model")
    (folder / "Modelfile").write_text(
        "FROM model.gguf\nSYSTEM be kind\nPARAMETER temperature 0.5\nPARAMETER num_ctx 99\n"
    )
    exported = plan_target(str(folder), Settings(), name="conch").llama[0]
    assert (exported.name, exported.system, exported.num_ctx) == ("conch", "be kind", 99)
    assert exported.options == {"temperature": 0.5}
    other = plan_target(str(folder / "model.gguf"), Settings(), runtime="llama-cpp-python").llama[0]
    assert (other.binding, other.slots) == ("llama-cpp-python", 1)
    ollama = plan_target("qwen3:8b", Settings(), name="q")
    assert ollama.others == {"ollama": OllamaPlan(None)}
    assert ollama.settings.models["q"].model == "qwen3:8b"
    upstream = plan_target(None, Settings(), upstream=["http://x/v1"], key="k")
    assert upstream.others == {"openai": UpstreamPlan(("http://x/v1",), "k")}
    assert upstream.settings.models == {}


@pytest.mark.bad_input("options of conch serve that don't go together")
def test_options_that_do_not_go_together(folder: Path) -> None:
    options = dict.fromkeys(
        ("runtime", "host", "upstream_key_env", "name", "num_ctx", "slots", "threads", "gpu_layers", "keep_alive")
    ) | {"upstream": ()}
    for model, config, change in (
        ("x", Path("conch.toml"), {}),
        (None, None, {"runtime": "llama.cpp"}),
        (None, None, {"runtime": "openai"}),
        ("x", None, {"upstream_key_env": "CONCH_NOT_SET", "upstream": ["http://x"]}),
        (str(folder / "model.gguf"), None, {"keep_alive": "soon"}),
        (str(folder / "model.gguf"), None, {"memory": "0GB"}),
        (None, folder / "conch.toml", {"num_ctx": 512}),
        ("qwen3:8b", None, {"num_ctx": 512}),
        ("qwen3:8b", None, {"memory": "4GB"}),
        (None, None, {"upstream": ["http://x/v1"], "keep_alive": "5m"}),
        (None, folder / "conch.toml", {"runtime": "ollama"}),
        (str(folder / "model.gguf"), None, {"host": "http://x"}),
        (str(folder / "model.gguf"), None, {"upstream_key_env": "PATH"}),
        ("qwen3:8b", None, {"runtime": "ollama", "upstream": ["http://x/v1"]}),
        (None, None, {"upstream": ["http://x/v1"], "host": "http://x"}),
    ):
        with pytest.raises(UsageError) as caught:
            plan_command(model, config, **options | change)
        assert caught.value.code == "usage"
    with pytest.raises(UsageError, match="--threads, --memory: only for"):
        plan_command("qwen3:8b", None, **options | {"threads": 2, "memory": "4GB"})
    assert plan_command(str(folder / "model.gguf"), None, **options, memory="1.5 GiB")[0].bounds.memory == 3 << 29
    with pytest.raises(ConchError, match=r"nix\.gguf"):
        plan_command("nix.gguf", None, **options)
    assert os.environ.get("CONCH_NOT_SET") is None
