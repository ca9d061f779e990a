"""Print what LLaMA-Factory needs besides torch, torchvision and torchaudio, a line each, for pip.

On Linux the wheels of those three are for CUDA and take 7 GB; what is tested here needs a torch for the CPU only.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import requires

_LEFT_OUT = {"torch", "torchvision", "torchaudio"}

for line in requires("llamafactory") or ():
    name = re.match(r"[\w.-]+", line)
    if name is not None and name[0] not in _LEFT_OUT and "extra ==" not in line:
        sys.stdout.write(f"{line}\n")
