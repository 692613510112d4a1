"""Two multimodal tables, omnitune beside what a user would pick instead: reviews with numbers and categories, and MovieLens 100k.

python benchmarks/multimodal.py [reviews stars next] [--seeds 0 1 2] [--folds u1 u2 ...] [--only WORDS ...] [--quick] [--runs runs/multimodal]

Every side in every case is kept in the folder of --runs, and what is there is not run again, so that a benchmark that was cut off goes on. Writes
multimodal.json and multimodal.md after each; both hold what is there. `make bench-multimodal` runs all of it.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

Record = dict[str, Any]
PARTS = ("reviews", "stars", "next")
PACKAGES = ("omnitune", "torch", "transformers", "scikit-learn")


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--folds", nargs="+", default=["u1", "u2", "u3", "u4", "u5"])
    parser.add_argument("--only", nargs="+", default=[""], help="Sides whose names hold one of these words.")
    parser.add_argument("--quick", action="store_true", help="A few rows and one epoch: that everything runs, no figures.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, help="runs/multimodal, or runs/multimodal-quick")
    parser.add_argument("--out", type=Path, help="benchmarks/multimodal.json, or multimodal.json in the folder of --runs with --quick")
    given = parser.parse_args(words)
    given.runs = given.runs or HERE.parent / "runs" / ("multimodal-quick" if given.quick else "multimodal")
    given.out = given.out or (given.runs if given.quick else HERE) / "multimodal.json"
    if unknown := [name for name in given.parts if name not in PARTS]:
        parser.error(f"no part called {unknown[0]!r}; there are {', '.join(PARTS)}")
    return given


def main(words: list[str] | None = None) -> None:
    given = arguments(words)
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # before torch is loaded, and for processes of their own
    import torch
    from transformers import logging as transformers_logging

    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(given.threads)
    from ours import own_cache

    wanted = {name: part for name, part in parts(given).items() if name in (given.parts or PARTS)}
    failed = []
    with tempfile.TemporaryDirectory(prefix="omnitune-bench-") as place:
        own_cache(Path(place))
        for name, part in wanted.items():
            failed += list(run(name, part, given, Path(place)))
    print(write(given).read_text(encoding="utf-8"))
    sys.exit("\n".join(failed) or None)


def parts(given: argparse.Namespace) -> dict[str, Any]:
    """The parts by name."""
    import next_film
    import reviews
    import stars

    of_reviews, of_films = (reviews.QUICK, stars.Size(400)) if given.quick else (reviews.Size(), stars.Size())
    made = (reviews.part(of_reviews, given.seeds), stars.part(of_films, given.folds), next_film.part(of_films, given.seeds))
    return dict(zip(PARTS, made, strict=True))


def run(name: str, part: Any, given: argparse.Namespace, place: Path) -> Iterator[str]:
    """All sides that are not there yet, case by case, so that all of them have a first case early; what fails is told, and the others go on."""
    cases = list(dict.fromkeys(case for side in part.sides.values() for case in side.cases))
    todo = [(case, words, side) for case in cases for words, side in part.sides.items() if case in side.cases]
    for case, words, side in todo:
        path = kept(given.runs, name, words, case)
        if path.exists() or not any(word in words for word in given.only):
            continue
        if why := side.lacks():
            print(f"{name}: {words}: {why}", flush=True)
            continue
        try:
            found = side.run(case, place)
        except Exception as error:
            traceback.print_exc()
            yield f"{name}: {words}, {case}: {type(error).__name__}: {str(error)[:200]}"
            continue
        found.write(path)
        write(given)
        print(f"{name}: {words}, {case}: {found.figures}, {found.cpu:.0f} s of the processor", flush=True)


def kept(runs: Path, part: str, side: str, case: str) -> Path:
    """Where one side in one case is kept."""
    return runs / part / re.sub(r"[^a-z0-9]+", "-", side.lower()).strip("-") / f"{case}.json"


# What was found


def write(given: argparse.Namespace) -> Path:
    """multimodal.json and multimodal.md from all that is kept; gives the second."""
    from multimodal_page import page
    from run import machine

    found = {name: collected(name, part, given.runs) for name, part in parts(given).items()}
    whole = {
        "machine": machine(given.threads), "versions": {name: version(name) for name in PACKAGES},
        "parts": {name: of for name, of in found.items() if of["sides"]},
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    told = given.out.with_suffix(".md")
    told.write_text(page(whole), encoding="utf-8")
    return told


def collected(name: str, part: Any, runs: Path) -> Record:
    """What is kept of a part: figures of each side over its cases, and how it differs from the first."""
    from found import Found, differences, summary

    sides: dict[str, dict[str, Found]] = {}
    for words in part.sides:
        folder = kept(runs, name, words, "").parent
        if there := sorted(folder.glob("*.json")):
            sides[words] = {path.stem: Found.read(path) for path in there}
    made = {words: summary(cases) for words, cases in sides.items()}
    first = next(iter(part.sides))
    for words, cases in sides.items():
        if part.paired and first in sides and words != first:
            made[words]["against"] = differences(sides[first], cases)
    lacking = {words: why for words, side in part.sides.items() if words not in sides and (why := side.lacks())}
    told = {"title": part.title, "about": part.about, "cases": part.cases, "paired": part.paired, "unfair": list(part.unfair)}
    return told | {"sides": made, "lacking": lacking}


if __name__ == "__main__":
    main()
