"""python -m benchmarks [--work DIR] [--runs N]: every benchmark of the export."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import export, kernels

parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
parser.add_argument("--work", type=Path, help="a folder with 20 GB free, kept afterwards (default: a temporary one)")
parser.add_argument("--runs", type=int, default=3, help="runs of each command; the median counts")
arguments = parser.parse_args()

kernels.main([])
if arguments.work:
    arguments.work.mkdir(parents=True, exist_ok=True)
    export.main(arguments.work, arguments.runs)
else:
    with tempfile.TemporaryDirectory() as folder:
        export.main(Path(folder), arguments.runs)
