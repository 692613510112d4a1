"""The history of GPT, measured: every generation pre-trained on the same text, then asked what it is worth downstream.

python benchmarks/history.py [MODEL ...] [--size tiny|small|medium|gpt2] [--seeds 3] [--documents N] [--minutes M] [--runs runs/history]
                             [--out docs/history.md]

All models hold about as many weights. Each is trained twice: on the same bytes, read once, and for the same minutes, as often as it gets
through them. A part that is finished is not made again, so this can be killed and started anew; the page is written from what is whole,
after each model. `--size gpt2` has the published size, for a GPU.
"""

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import history_figures
import history_measured
import history_page
from transformers import logging as transformers_logging

from omnitune import Artifact, fit, load
from omnitune.recipe import Recipe, read

TEXT = "sample:cmake-manual"
LABELLED = "sample:women-reviews"
TASKS = {
    "recommended": {"kind": "classify", "target": "recommended"},
    "department": {"kind": "classify", "target": "department"},
}
METRICS = {"recommended": "auroc", "department": "accuracy"}
Values = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """What all models share.

    Args:
        depth, width: of blocks.
        context: tokens at once.
        vocabulary: words of the tokenizer.
        batch: rows of full length a step.
        documents: that are read.
        minutes: of training, where all have the same.
        labelled: rows of the downstream tasks.
        lr: of pre-training.
    """

    depth: int
    width: int
    context: int
    vocabulary: int
    batch: int
    documents: int
    minutes: float
    labelled: int
    lr: float


SIZES = {
    "tiny": Size(3, 192, 64, 2048, 16, 400, 0.4, 1000, 2e-3),
    "small": Size(4, 256, 128, 4096, 16, 600, 4.0, 2000, 1e-3),
    "medium": Size(8, 512, 256, 8192, 16, 1817, 60.0, 8000, 6e-4),
    "gpt2": Size(12, 768, 512, 32_000, 64, 1817, 30.0, 20_000, 3e-4),
}


@dataclass(frozen=True)
class Entry:
    """A generation.

    Args:
        paper: of it.
        backbone: settings beside those of the size.
        task: its objective.
        width: its width as a share of the others', so that all hold about as many weights.
    """

    paper: str
    backbone: Values
    task: str = "generate"
    width: float = 1.0


MODELS = {
    "GPT-1": Entry("Radford et al. 2018", {"kind": "gpt", "generation": "gpt1"}),
    "BERT": Entry("Devlin et al. 2019", {"kind": "bert"}, "masked_text"),
    "Transformer-XL": Entry("Dai et al. 2019", {"kind": "transformer_xl"}, width=0.96875),
    "GPT-2": Entry("Radford et al. 2019", {"kind": "gpt", "generation": "gpt2"}),
    "GPT-3": Entry("Brown et al. 2020", {"kind": "gpt", "generation": "gpt3"}),
    "modern": Entry("Touvron et al. 2023", {"kind": "gpt", "generation": "modern"}),
}


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is asked for; `words` instead of the command line."""
    given = asked(words)
    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    size = SIZES[given.size]
    size = replace(size, documents=given.documents or size.documents, minutes=given.minutes or size.minutes)
    whole = given.runs / given.size / f"{size.documents}"
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
    parser.add_argument("--documents", type=int, help="Instead of the size's own.")
    parser.add_argument("--minutes", type=float, help="Instead of the size's own.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs/history"))
    parser.add_argument("--out", type=Path, default=Path("docs/history.md"))
    given = parser.parse_args(words)
    if unknown := [name for name in given.models if name not in MODELS]:
        parser.error(f"no model called {unknown[0]!r}; there are {', '.join(MODELS)}")
    return given


def make(name: str, size: Size, seed: int, place: Path) -> None:
    """All parts of a model and seed that are not there yet."""
    once = pretrained(name, size, {"epochs": 1, "validate_every": 0.1}, seed, place / "pretrained")
    history_measured.measure(once, place / "measured.json")
    pretrained(name, size, {"epochs": 1000, "minutes": size.minutes, "validate_every": 1000}, seed, place / "timed")
    downstream(once.path, size, seed, place / "tuned")
    downstream(backbone(name, size), size, seed, place / "scratch")


def write(whole: Path, size: Size, out: Path) -> None:
    """The page and its figures, of what is whole."""
    found = history_page.collect(whole, list(MODELS))
    figures = history_figures.drawn(found, [name for name, entry in MODELS.items() if entry.task == "generate"])
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        out.with_name(f"{out.stem}-{name}.svg").write_text(figure, encoding="utf-8")
    out.write_text(history_page.page(found, MODELS, size, METRICS, {name: f"{out.stem}-{name}.svg" for name in figures}), encoding="utf-8")


def backbone(name: str, size: Size) -> Values:
    """Settings of a model from nothing."""
    heads = max(1, size.width // 64)
    width = round(size.width * MODELS[name].width / heads / 2) * heads * 2
    own = {"depth": size.depth, "width": width, "heads": heads, "vocabulary": size.vocabulary}
    reads = {"segment": size.context, "memory": size.context} if name == "Transformer-XL" else {"context": size.context}
    bands = {"window": size.context // 4} if name == "GPT-3" else {}  # the library's own 256 would hold a whole context here
    return own | reads | bands | MODELS[name].backbone


def pretrained(name: str, size: Size, budget: Values, seed: int, place: Path) -> Artifact:
    """Trained on the documents without labels."""
    text = {"kind": "text", "backbone": backbone(name, size), "max_tokens": size.context, "pieces": True}
    return run({
        "data": {"from": f"{TEXT}#{size.documents}"}, "inputs": {"text": text}, "tasks": {"language": {"kind": MODELS[name].task, "of": "text"}},
        "train": {"batch": size.batch, "lr": size.lr, "seed": seed} | budget,
    }, place)  # fmt: skip


def downstream(reader: Path | Values, size: Size, seed: int, place: Path) -> Artifact:
    """Two labelled tasks at once; its report holds the linear probe of what the backbone knew before, too."""
    text = {"kind": "text", "backbone": str(reader) if isinstance(reader, Path) else reader, "max_tokens": size.context}
    return run({
        "data": {"from": f"{LABELLED}#{size.labelled}", "split": [0.6, 0.1, 0.3]}, "inputs": {"text": text}, "tasks": TASKS,
        "train": {"epochs": 3, "batch": size.batch, "lr": size.lr / 2, "seed": seed},
    }, place)  # fmt: skip


def run(values: Values, place: Path) -> Artifact:
    """The finished run of this recipe in `place`: made, gone on with, or read."""
    recipe: Recipe = read({"version": 1, **values})
    if (place / "lineage.json").exists():
        return load(place)
    return fit(recipe, place, resume=place.exists())


if __name__ == "__main__":
    main()
