"""`conch serve`, which also tells where its worker listens, so that the same server can be asked past the shim.

python -m benchmarks.shim FILE serve …: FILE gets the worker's address and its key.
"""

from __future__ import annotations

import sys
from pathlib import Path

from conch_ollama.cli import run
from conch_ollama.runtimes.worker_process import WorkerProcess


def main() -> None:
    """Serve until a signal ends it."""
    told = Path(sys.argv.pop(1))
    wait_ready = WorkerProcess.wait_ready

    def tell(self: WorkerProcess, timeout: float) -> None:
        wait_ready(self, timeout)
        told.write_text(f"{self.address} {self.key}", encoding="utf-8")

    WorkerProcess.wait_ready = tell  # type: ignore[method-assign]
    raise SystemExit(run())


if __name__ == "__main__":
    main()
