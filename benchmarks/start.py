"""How long a user waits for a command that trains nothing, against the start of Python and against importing torch.

python benchmarks/start.py
"""

import subprocess
import sys
from functools import partial
from pathlib import Path

from _timing import interleaved, table

DEMO = Path(__file__).parents[1] / "recipes" / "demo.yaml"
CASES = {
    "python": ["-c", "pass"],
    "omnitune --help": ["-m", "omnitune.cli", "--help"],
    "omnitune check": ["-m", "omnitune.cli", "check", str(DEMO)],
    "import omnitune": ["-c", "import omnitune"],
    "import torch": ["-c", "import torch"],
}

if __name__ == "__main__":
    start = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    print(table(interleaved({name: partial(start, [sys.executable, *words]) for name, words in CASES.items()}, rounds=7)))
