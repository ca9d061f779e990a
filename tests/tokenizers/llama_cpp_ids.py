"""Token ids by llama.cpp itself: GGUFs with a vocabulary and a tiny random model around it, run in a child process.

The child serves one file after the other and answers on its standard output; llama.cpp ends the process on bad files.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from conch_ollama.formats.gguf_writer import GGUFTensorSpec, GGUFWriter
from conch_ollama.formats.metadata import Metadata, f32, string, u32

_WIDTH = 32  # columns of every weight; one head, one layer
_F16 = 1
_F32 = 0


def write_model(path: Path, vocabulary: Metadata) -> Path:
    """A llama model of one layer whose weights are all zero, with the given `tokenizer.*` keys."""
    rows = len(vocabulary["tokenizer.ggml.tokens"].data)
    metadata = {
        "general.architecture": string("llama"),
        "llama.block_count": u32(1),
        "llama.context_length": u32(512),
        "llama.embedding_length": u32(_WIDTH),
        "llama.feed_forward_length": u32(_WIDTH),
        "llama.attention.head_count": u32(1),
        "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
        "llama.vocab_size": u32(rows),
        **vocabulary,
    }
    square = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    tensors = [
        GGUFTensorSpec("token_embd.weight", _F16, (rows, _WIDTH)),
        GGUFTensorSpec("output_norm.weight", _F32, (_WIDTH,)),
        GGUFTensorSpec("blk.0.attn_norm.weight", _F32, (_WIDTH,)),
        GGUFTensorSpec("blk.0.ffn_norm.weight", _F32, (_WIDTH,)),
        *(GGUFTensorSpec(f"blk.0.{name}.weight", _F16, (_WIDTH, _WIDTH)) for name in square),
    ]
    with GGUFWriter(path, metadata, tensors) as writer:
        for tensor in tensors:
            writer.write(np.zeros(tensor.nbytes, np.uint8))
    return path


def llama_cpp_ids(files: Sequence[Path], texts: Sequence[str], *, add_special: bool = False) -> list[list[list[int]]]:
    """For every file the ids of every text, special tokens in it parsed. Fails with llama.cpp's words if it dies."""
    request = {"files": [str(file) for file in files], "texts": list(texts), "add_special": add_special}
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name],
        cwd=Path(__file__).parents[2],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=300,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("IDS ")]
    if done.returncode != 0 or not lines:
        tail = "\n".join(done.stderr.splitlines()[-30:])
        raise AssertionError(f"llama.cpp died with {done.returncode} on {[file.name for file in files]}:\n{tail}")
    return json.loads(lines[-1].removeprefix("IDS "))


def _serve() -> None:
    import httpx
    import xllamacpp

    request = json.load(sys.stdin)
    result = []
    for file in request["files"]:
        params = xllamacpp.CommonParams()
        params.model.path = file
        params.n_ctx = 256
        params.n_gpu_layers = 0
        params.n_parallel = 1
        params.warmup = False
        params.verbosity = 0
        params.port = 0
        params.cpuparams.n_threads = 1
        params.n_threads_http = 1
        server = xllamacpp.Server(params)
        with httpx.Client(base_url=server.listening_address, trust_env=False, timeout=60) as client:
            ids = []
            for text in request["texts"]:
                body = {"content": text, "add_special": request["add_special"], "parse_special": True}
                answer = client.post("/tokenize", json=body)
                answer.raise_for_status()
                ids.append(answer.json()["tokens"])
        result.append(ids)
        del server
    sys.stdout.write("IDS " + json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
