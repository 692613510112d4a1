"""The history of GPT, measured: every generation pre-trained on the same text, then asked what it is worth downstream.

python benchmarks/history.py [MODEL ...] [--size small|medium|gpt2] [--documents N] [--seeds 3] [--runs runs/history] [--out docs/history.md]

All models hold about as many weights and read the same bytes once. A run that is finished is not made again, so this can be killed and
started anew; the page is written from the runs that are there, after each of them. `--size gpt2` has the published size, for a GPU.
"""

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        labelled: rows of the downstream tasks.
        lr: of pre-training.
    """

    depth: int
    width: int
    context: int
    vocabulary: int
    batch: int
    documents: int
    labelled: int
    lr: float


SIZES = {
    "small": Size(4, 256, 128, 4096, 16, 600, 2000, 1e-3),
    "medium": Size(8, 512, 256, 8192, 16, 1817, 8000, 6e-4),
    "gpt2": Size(12, 768, 512, 32_000, 64, 1817, 20_000, 3e-4),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--documents", type=int, help="Instead of the size's own.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs/history"))
    parser.add_argument("--out", type=Path, default=Path("docs/history.md"))
    given = parser.parse_args()
    if unknown := [name for name in given.models if name not in MODELS]:
        parser.error(f"no model called {unknown[0]!r}; there are {', '.join(MODELS)}")
    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    size = SIZES[given.size]
    documents = given.documents or size.documents
    for seed in range(given.seeds):
        for name in given.models or MODELS:
            place = given.runs / given.size / f"{documents}" / name / f"{seed}"
            made = pretrained(name, size, documents, seed, place / "pretrained")
            downstream(made.path, size, seed, place / "tuned")
            downstream(backbone(name, size), size, seed, place / "scratch")
            found = history_page.collect(given.runs / given.size / f"{documents}", list(MODELS))
            given.out.write_text(history_page.page(found, MODELS, size, documents, METRICS), encoding="utf-8")
            given.out.with_suffix(".svg").write_text(history_page.curves(found, MODELS), encoding="utf-8")
            print(f"{name}, seed {seed}: done", flush=True)


def backbone(name: str, size: Size) -> Values:
    """Settings of a model from nothing."""
    heads = max(1, size.width // 64)
    width = round(size.width * MODELS[name].width / heads / 2) * heads * 2
    own = {"depth": size.depth, "width": width, "heads": heads, "vocabulary": size.vocabulary}
    reads = {"segment": size.context, "memory": size.context} if name == "Transformer-XL" else {"context": size.context}
    return own | reads | MODELS[name].backbone


def pretrained(name: str, size: Size, documents: int, seed: int, place: Path) -> Artifact:
    """One pass over the documents."""
    text = {"kind": "text", "backbone": backbone(name, size), "max_tokens": size.context, "pieces": True}
    return run({
        "data": {"from": f"{TEXT}#{documents}"}, "inputs": {"text": text}, "tasks": {"language": {"kind": MODELS[name].task, "of": "text"}},
        "train": {"epochs": 1, "batch": size.batch, "lr": size.lr, "seed": seed, "validate_every": 0.1},
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
