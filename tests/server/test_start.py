"""What `conch serve` loads until it is ready, and how GET /generate reads its address."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim

#: Each costs a tenth of the start or more, and none is needed before the first request.
HEAVY = {"numpy", "gguf", "pydantic.v1", "tokenizers", "jinja2", "httpx", "jwt", "cryptography", "xllamacpp", "rich"}
SCRIPT = """
import sys
from pathlib import Path
from conch_ollama.cli import serve
from conch_ollama.server.app import make_app
from conch_ollama.workflows import serve
from conch_ollama.workflows.serve_options import plan_command
from conch_ollama.server.settings import Settings
from conch_ollama.workflows.serve_models import plan_target
plan = plan_target(sys.argv[1], Settings())
make_app(plan.settings, plan.start())
print(" ".join(sys.modules))
"""


def test_nothing_heavy_is_loaded_before_it_is_ready(smollm2_gguf: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(smollm2_gguf)], capture_output=True, check=True, encoding="utf-8"
    )
    loaded = set(told.stdout.split())
    assert "fastapi" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.bad_input("an address of /generate whose parameters are wrong")
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "prompt"),
        ("prompt=", "prompt"),
        ("prompt=x&max_tokens=many", "max_tokens"),
        ("prompt=x&max_tokens=-1", "max_tokens"),
        ("prompt=x&think=perhaps", "think"),
    ],
)
def test_addresses_that_are_wrong(made: tuple[RunningShim, MadeRuntime], query: str, param: str) -> None:
    running, _ = made
    answer = running.client.get(f"/generate?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert answer.json()["error"]["code"] == "invalid_value"


def test_an_address_is_read_as_the_types_that_are_meant(made: tuple[RunningShim, MadeRuntime]) -> None:
    running, runtime = made
    answer = running.client.get("/generate?prompt=7&max_tokens=5&think=true&system=s&temperature=9")
    assert answer.json()["generated_text"] == "Hello you"
    _, body = runtime.asked[-1]
    assert body["messages"] == [{"role": "system", "content": "s"}, {"role": "user", "content": "7"}]
    assert body["max_tokens"] == 5
    assert "temperature" not in body
    listed = running.client.get("/openapi.json").json()["paths"]
    assert [one["name"] for one in listed["/generate"]["get"]["parameters"] if one["required"]] == ["prompt"]
    assert listed["/v1/models/{name}"]["get"]["parameters"][0]["in"] == "path"
