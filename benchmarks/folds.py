"""Cross-validation of a recipe with one `classify` task, where rows are too few for one test part. Prints a line a fold, and what all say.

    python benchmarks/folds.py recipes/sound_families.yaml --folds 5 --seeds 0 1 2

Rows are dealt to the folds class by class, in an order that a seed decides. Each fold is the test part of a model that learned from the others but
for the next one, its validation part. Every row is tested once a seed, so the accuracy of a seed is the mean over all rows.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omnitune import fit
from omnitune.data.media import open_media
from omnitune.data.table import read as read_table
from omnitune.recipe import Data, Recipe, read

Rows = list[dict[str, Any]]


def dealt(answers: list[Any], folds: int, seed: int) -> np.ndarray[Any, Any]:
    """The fold of each row."""
    found = np.zeros(len(answers), np.int64)
    by_class: dict[Any, list[int]] = defaultdict(list)
    for row in np.random.default_rng(seed).permutation(len(answers)).tolist():
        by_class[answers[row]].append(row)
    found[[row for rows in by_class.values() for row in rows]] = np.arange(len(answers)) % folds
    return found


def rows_of(recipe: Recipe, target: str) -> Rows:
    """Those with an answer; files as their bytes."""
    table = read_table(recipe.data.source)
    media = {recipe.column(name) for name, modality in recipe.inputs.items() if modality.media}
    columns = {column: table.take(column, np.arange(len(table))) for column in {*recipe.columns, target}}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    there = [row for row in rows if row[target] is not None]
    return [{column: open_media(v, table.root) if column in media else v for column, v in row.items()} for row in there]


def tested(recipe: Recipe, rows: Rows, fold_n: np.ndarray[Any, Any], fold: int, folds: int, place: Path) -> dict[str, float]:
    """How many rows of a fold each model answers right."""
    parts = {"test": fold_n == fold, "validation": fold_n == (fold + 1) % folds}
    parts["train"] = ~(parts["test"] | parts["validation"])
    (place / "data").mkdir(parents=True)
    for part, there in parts.items():
        pq.write_table(pa.Table.from_pylist([rows[i] for i in np.flatnonzero(there)]), place / "data" / f"{part}.parquet")
    run = fit(recipe.replace(data=Data(source=str(place / "data"), split="given"), expect={}), place / "run")
    (report,) = run.report.tasks.values()
    return {model: metrics["accuracy"]["value"] * report["metrics"]["rows"] for model, metrics in report["metrics"]["models"].items()}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("recipe")
    asked.add_argument("changes", nargs="*")
    asked.add_argument("--folds", type=int, default=5)
    asked.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = asked.parse_args()
    recipe = read(given.recipe, given.changes)
    (task,) = recipe.tasks.values()
    rows = rows_of(recipe, task.target)
    found: dict[str, list[float]] = defaultdict(list)
    for seed in given.seeds:
        fold_n = dealt([row[task.target] for row in rows], given.folds, seed)
        right: dict[str, float] = defaultdict(float)
        for fold in range(given.folds):
            with tempfile.TemporaryDirectory() as place:
                of_fold = tested(recipe.replace(train=recipe.train.replace(seed=seed)), rows, fold_n, fold, given.folds, Path(place))
            for model, n in of_fold.items():
                right[model] += n
            print(f"seed {seed} fold {fold}: " + ", ".join(f"{model} {n / (fold_n == fold).sum():.3f}" for model, n in of_fold.items()), flush=True)
        for model, n in right.items():
            found[model].append(n / len(rows))
        print(f"seed {seed}, {len(rows)} rows: " + ", ".join(f"{model} {n / len(rows):.3f}" for model, n in right.items()), flush=True)
    print("all seeds: " + ", ".join(f"{model} {np.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for model, each in found.items()), flush=True)


if __name__ == "__main__":
    main()
