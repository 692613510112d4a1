"""The speed of what writes: texts, tuning a language model, transcripts, preferences. omnitune against transformers, PEFT and TRL, in turns.

python benchmarks/writing.py [generate] [tune] [upper] [transcribe] [prefer] [--rounds 3] [--threads 2]

Every side does the same work on the same rows in the same process; a table gives the median rate of each, the share that it is of what the machine
allows (each race says how that is reckoned), and the range of ratios in the same round. `--small` tries all on little.
"""

import argparse
import os
import warnings

import race_generate
import race_prefer
import race_transcribe
import race_tune
import races
import torch

RACES = {
    "generate": lambda small: race_generate.race(race_generate.Size(prompts=20, tokens=12) if small else race_generate.Size()),
    "tune": lambda small: race_tune.race(race_tune.Size(rows=16, batch=4) if small else race_tune.Size()),
    "upper": lambda small: race_tune.race(race_tune.Size(rows=8, batch=4, epochs=3, blocks=10) if small else race_tune.UPPER),
    "transcribe": lambda small: race_transcribe.race(race_transcribe.Size(clips=4) if small else race_transcribe.Size()),
    "prefer": lambda small: race_prefer.race(race_prefer.Size(rows=10, batch=4) if small else race_prefer.Size()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("races", nargs="*", choices=[*RACES, []], default=list(RACES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    for name in given.races:
        print(races.run(RACES[name](given.small), given.rounds), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
