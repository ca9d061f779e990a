"""The child process that holds llama.cpp: `python -m conch_ollama.runtimes.worker`.

Reads its settings as one JSON line from standard input, loads the model, answers one JSON line with its address on
standard output, and lives until standard input closes, so that it cannot outlive its parent. llama.cpp's own HTTP
server does the rest. A fault in C++ ends this process and no other. With `--devices` it only says what it could use.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from conch_ollama.runtimes.slice import lengthen_slice, shorten_waiting

#: Settings that a parent may leave out. `adapters`: (path, scale for requests that say nothing of it); `ubatch` 0:
#: llama.cpp's own; `pooling`: how a text becomes one vector; `continue_answers`: a last answer stays open;
#: `memory_limit`: bytes of address space, 0 for as many as there are.
DEFAULTS: dict[str, Any] = {
    "adapters": [],
    "embedding": False,
    "pooling": None,
    "ubatch": 0,
    "http_threads": -1,
    "cache_ram_mib": None,
    "verbosity": None,
    "continue_answers": True,
    "memory_limit": 0,
}
#: After it is ready llama.cpp's server starts one more thread: the one that takes in questions while others are
#: computed, and which these wait for.
_LAST_THREAD_S = 0.1


def parameters(settings: dict[str, Any]) -> Any:
    """llama.cpp's server parameters (`xllamacpp.CommonParams`) from the settings that the parent sends."""
    import xllamacpp

    settings = {**DEFAULTS, **settings}
    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.n_ctx = settings["num_ctx"]
    params.n_parallel = settings["slots"]
    params.n_gpu_layers = settings["gpu_layers"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.api_keys = [settings["key"]]
    params.model_alias = {settings["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.use_jinja = True
    params.warmup = False
    params.ui = False
    params.n_threads_http = settings["http_threads"]
    params.embedding = settings["embedding"]
    if settings["pooling"] is not None:
        params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{settings['pooling']}")
    if settings["ubatch"]:
        params.n_batch = params.n_ubatch = settings["ubatch"]
    if settings["cache_ram_mib"] is not None:
        params.cache_ram_mib = settings["cache_ram_mib"]
    if settings["verbosity"] is not None:
        params.verbosity = settings["verbosity"]
    params.prefill_assistant = settings["continue_answers"]
    if settings["adapters"]:
        params.lora_adapters = [_adapter(path, scale) for path, scale in settings["adapters"]]
    return params


def _adapter(path: str, scale: float) -> Any:
    import xllamacpp

    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path = path
    adapter.scale = scale
    return adapter


def devices() -> list[dict[str, Any]]:
    """What the installed llama.cpp can compute on besides the CPU: name, description, memory in bytes."""
    import xllamacpp

    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    return [
        {"name": found["name"], "description": found["description"], "memory": found["memory_total"]}
        for found in xllamacpp.get_device_info()
        if found["type"] != cpu
    ]


def _limit_memory(size: int) -> None:
    """A chat template is foreign code: what it may take is bounded where the system can (Windows and macOS can't)."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        return


def main() -> None:
    """Serve until standard input closes."""
    # llama.cpp and its dependencies may print to descriptor 1; only our one line may reach the parent.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if "--devices" in sys.argv:
        answer.write(json.dumps(devices()))
        answer.flush()
        return
    settings = json.loads(sys.stdin.readline())
    import xllamacpp

    lengthen_slice()
    if settings.get("memory_limit"):
        _limit_memory(settings["memory_limit"])
    try:
        server = xllamacpp.Server(parameters(settings))
    except Exception as err:  # llama.cpp raises bare RuntimeError and worse; the parent says which model
        answer.write(json.dumps({"error": str(err)}) + "\n")
        answer.flush()
        raise SystemExit(1) from err
    shorten_waiting()
    answer.write(json.dumps({"address": server.listening_address}) + "\n")
    answer.flush()
    time.sleep(_LAST_THREAD_S)
    shorten_waiting()
    while sys.stdin.read(4096):
        pass


if __name__ == "__main__":
    main()
