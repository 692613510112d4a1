"""One side of a job in a process of its own, for its peak memory: python alone.py SIDE GIVEN.json THREADS

SIDE is `omnitune` or the name of a peer. Prints MiB.
"""

import sys
from pathlib import Path

import torch
from work import Work, peak_mb

if __name__ == "__main__":
    side, given, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    if side == "omnitune":
        from ours import Given

        Given.read(given).run()
        print(peak_mb())
    else:
        from sides import PEERS

        took = PEERS[side](Work.read(given))
        print(took.peak_mb or peak_mb())
