"""`conch serve`, which also tells where its worker listens, so that the same server can be asked past the shim.

python -m benchmarks.shim FILE STAMPS serve …: FILE gets the worker's address and its key. With STAMPS, another file, a
relay stands before the worker, for both who ask it (relay.py); "" for none.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from conch_ollama.cli import run
from conch_ollama.runtimes.worker_process import WorkerProcess


def main() -> None:
    """Serve until a signal ends it."""
    told, stamps = Path(sys.argv.pop(1)), sys.argv.pop(1)
    wait_ready = WorkerProcess.wait_ready

    def tell(self: WorkerProcess, timeout: float) -> None:
        wait_ready(self, timeout)
        if stamps:
            self.address = _relayed(self.address, stamps)
        told.write_text(f"{self.address} {self.key}", encoding="utf-8")

    WorkerProcess.wait_ready = tell  # type: ignore[method-assign]
    raise SystemExit(run())


def _relayed(address: str, stamps: str) -> str:
    """The address of a relay before this one, which ends when we do."""
    command = [sys.executable, "-m", "benchmarks.relay", str(urlsplit(address).port), stamps]
    relay = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert relay.stdout is not None
    return f"http://127.0.0.1:{int(relay.stdout.readline())}"


if __name__ == "__main__":
    main()
