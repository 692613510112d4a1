"""The history of GPT, measured: every generation pre-trained on the same text, then asked what it is worth downstream.

python benchmarks/history.py [MODEL ...] [--size tiny|small|medium|gpt2] [--seeds 3] [--text SOURCE] [--documents N] [--minutes M]
                             [--runs runs/history] [--out docs/history.md]

All models hold about as many weights. Each is trained twice: on the same bytes, read once, and for the same minutes, as often as it gets
through them. A part that is finished is not made again, so this can be killed and started anew; the page is written from what is whole,
after each model. `--size gpt2` has the published size, for a GPU, and needs a larger text than the sample: any table with a column `text`.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import history_figures
import history_measured
import history_page
from history_models import MODELS, SIZES, TEXT, Size, Values, backbone
from transformers import logging as transformers_logging

from omnitune import Artifact, Mistake, fit, load
from omnitune.recipe import Recipe, read

LABELLED = "sample:women-reviews"
TASKS = {
    "recommended": {"kind": "classify", "target": "recommended"},
    "department": {"kind": "classify", "target": "department"},
}
METRICS = {"recommended": "auroc", "department": "accuracy"}


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is asked for; `words` instead of the command line."""
    given = asked(words)
    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    size = SIZES[given.size]
    size = replace(size, documents=given.documents or size.documents, minutes=given.minutes or size.minutes, text=given.text)
    whole = given.runs / given.size / f"{size.documents}"
    same(size, whole)
    for seed in range(given.seeds):
        for name in given.models or MODELS:
            make(name, size, seed, whole / name / f"{seed}")
            write(whole, size, given.out)
            print(f"{name}, seed {seed}: done", flush=True)


def asked(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--text", default=TEXT, help="Documents in a column `text`, as any recipe names its data.")
    parser.add_argument("--documents", type=int, help="Instead of the size's own.")
    parser.add_argument("--minutes", type=float, help="Instead of the size's own.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs/history"))
    parser.add_argument("--out", type=Path, default=Path("docs/history.md"))
    given = parser.parse_args(words)
    if unknown := [name for name in given.models if name not in MODELS]:
        parser.error(f"no model called {unknown[0]!r}; there are {', '.join(MODELS)}")
    return given


def same(size: Size, whole: Path) -> None:
    """Raises `Mistake` where the runs in a folder were made with other settings: they would stand on one page."""
    noted = whole / "size.json"
    if not noted.exists():
        whole.mkdir(parents=True, exist_ok=True)
        noted.write_text(json.dumps(asdict(size), indent=1), encoding="utf-8")
    before, now = json.loads(noted.read_text(encoding="utf-8")), asdict(size)
    if other := [name for name in now if before.get(name) != now[name]]:
        raise Mistake(str(whole), f"holds runs of another {', '.join(other)}", "Give another folder by --runs, or remove this one")


def make(name: str, size: Size, seed: int, place: Path) -> None:
    """All parts of a model and seed that are not there yet."""
    once = pretrained(name, size, {"epochs": 1, "validate_every": 0.1}, seed, place / "pretrained")
    history_measured.measure(once, place / "measured.json")
    pretrained(name, size, {"epochs": 1000, "minutes": size.minutes, "validate_every": 1000}, seed, place / "timed")
    rate = size.lr * MODELS[name].rate / 2
    downstream(once.path, size, rate, seed, place / "tuned")
    downstream(backbone(name, size), size, rate, seed, place / "scratch")


def write(whole: Path, size: Size, out: Path) -> None:
    """The page and its figures, of what is whole."""
    found = history_page.collect(whole, list(MODELS))
    figures = history_figures.drawn(found, [name for name, entry in MODELS.items() if entry.task == "generate"])
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        out.with_name(f"{out.stem}-{name}.svg").write_text(figure, encoding="utf-8")
    out.write_text(history_page.page(found, MODELS, size, METRICS, {name: f"{out.stem}-{name}.svg" for name in figures}), encoding="utf-8")


def pretrained(name: str, size: Size, budget: Values, seed: int, place: Path) -> Artifact:
    """Trained on the documents without labels."""
    text = {"kind": "text", "backbone": backbone(name, size), "max_tokens": size.context, "pieces": True}
    return run({
        "data": {"from": f"{size.text}#{size.documents}"}, "inputs": {"text": text}, "tasks": {"language": {"kind": MODELS[name].task, "of": "text"}},
        "train": {"batch": size.batch, "lr": size.lr * MODELS[name].rate, "seed": seed} | budget,
    }, place)  # fmt: skip


def downstream(reader: Path | Values, size: Size, rate: float, seed: int, place: Path) -> Artifact:
    """Two labelled tasks at once; its report holds the linear probe of what the backbone knew before, too."""
    text = {"kind": "text", "backbone": str(reader) if isinstance(reader, Path) else reader, "max_tokens": size.context}
    return run({
        "data": {"from": f"{LABELLED}#{size.labelled}", "split": [0.6, 0.1, 0.3]}, "inputs": {"text": text}, "tasks": TASKS,
        "train": {"epochs": 3, "batch": size.batch, "lr": rate, "seed": seed},
    }, place)  # fmt: skip


def run(values: Values, place: Path) -> Artifact:
    """The finished run of this recipe in `place`: made, gone on with, or read."""
    recipe: Recipe = read({"version": 1, **values})
    if (place / "lineage.json").exists():
        return load(place)
    return fit(recipe, place, resume=place.exists())


if __name__ == "__main__":
    main()
