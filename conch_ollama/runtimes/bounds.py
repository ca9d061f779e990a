"""What llama.cpp's workers may take together, as the user says it. The only place of these defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """`max_loaded`: workers at once, one at least; `memory`: bytes for all of them, None: what is left here now but for
    a tenth; `hung_s`: seconds of silence after which a worker is killed and started again, 0: never."""

    max_loaded: int = 3
    memory: int | None = None
    hung_s: float = 30.0


#: Where the user says nothing.
USUAL = Bounds()
