"""Run by the tests in a process of its own: `python kill.py RECIPE OUT WHERE N` fits, and dies by SIGKILL at the given place.

WHERE is `step` (after step N), `write` (inside the N-th write of a checkpoint, its file half there) or `never`.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from omnitune.commands.fit import fit
from omnitune.recipe import read
from omnitune.training import checkpoint


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(recipe: str, out: str, where: str, n: int) -> None:
    torch.set_num_threads(1)
    writes = 0
    save_file = checkpoint.save_file

    def half(tensors, name, metadata):
        nonlocal writes
        writes += 1
        save_file(tensors, name, metadata)
        if where == "write" and writes == n:
            os.truncate(name, os.path.getsize(name) // 2)
            die()

    checkpoint.save_file = half
    fit(read(Path(recipe)), out, resume=Path(out).exists(), watch=lambda step: die() if where == "step" and step.step == n else None)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
