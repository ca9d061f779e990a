"""Entry point of the `conch` command (also `conch-ollama` and `python -m conch_ollama`).

Imports the command line only; commands import what they need when they run.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its status."""
    from conch_ollama.cli import run

    raise SystemExit(run())


if __name__ == "__main__":
    main()
