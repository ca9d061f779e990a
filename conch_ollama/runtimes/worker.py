"""The child process that holds llama.cpp: `python -m conch_ollama.runtimes.worker`.

Reads its settings as one JSON line from standard input, loads the model, answers one JSON line with its address on
standard output, and lives until standard input closes, so that it cannot outlive its parent. llama.cpp's own HTTP
server does the rest. A fault in C++ ends this process and no other.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def parameters(settings: dict[str, Any]) -> Any:
    """llama.cpp's server parameters (`xllamacpp.CommonParams`) from the settings that the parent sends."""
    import xllamacpp

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
    return params


def main() -> None:
    """Serve until standard input closes."""
    # llama.cpp and its dependencies may print to descriptor 1; only our one line may reach the parent.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline())
    import xllamacpp

    try:
        server = xllamacpp.Server(parameters(settings))
    except Exception as err:  # llama.cpp raises bare RuntimeError and worse; the parent says which model
        answer.write(json.dumps({"error": str(err)}) + "\n")
        answer.flush()
        raise SystemExit(1) from err
    answer.write(json.dumps({"address": server.listening_address}) + "\n")
    answer.flush()
    while sys.stdin.read(4096):
        pass


if __name__ == "__main__":
    main()
