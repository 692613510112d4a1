"""Few-shot classification: a linear layer on a sentence encoder as it is, and after `contrast` on the same few labels. Prints a line a setting.

    python benchmarks/few_shot.py --labels 8 --seeds 0 1 2

Reviews of women's clothing, six departments. Both answer the same test rows, which no seed draws training rows from. The linear layer is a
logistic regression on vectors of length 1, its penalty chosen by cross-validation on the few labels.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegressionCV

from omnitune import Artifact, fit
from omnitune.data.table import read as read_table
from omnitune.recipe import Recipe, read

Rows = list[dict[str, Any]]
Array = np.ndarray[Any, Any]


def recipe(train: Rows, settings: dict[str, Any]) -> Recipe:
    """Contrast on a few rows."""
    text = {"kind": "text", "backbone": "sample:minilm-l6", "max_tokens": 64}
    task = {"kind": "contrast", "of": "text", "by": "department"}
    fixed = {"batch": 48, "micro_batch": 16, "stop_on": "loss"}
    data = {"from": train, "split": [1.0, 0.0, 0.0]}
    return read({"data": data, "inputs": {"text": text}, "tasks": {"near": task}, "tuning": "full", "train": fixed | settings})


def drawn(table: Rows, labels: int, seed: int) -> Rows:
    """So many rows of each department."""
    rng, found = np.random.default_rng(seed), []
    for name in sorted({row["department"] for row in table}):
        of = [row for row in table if row["department"] == name]
        found += [of[i] for i in rng.choice(len(of), labels, replace=False)]
    return found


def vectors(run: Artifact, rows: Rows) -> Array:
    """Of texts, of length 1."""
    made: Array = run.embedder("text").all([{"text": row["text"]} for row in rows]).vectors_nP
    return made


def accuracy(x: Array, train: Rows, x_test: Array, test: Rows) -> float:
    """Of the linear layer."""
    y, y_test = ([row["department"] for row in rows] for rows in (train, test))
    probe = LogisticRegressionCV(Cs=[1, 10, 100, 1000], cv=4, max_iter=1000, scoring="accuracy", l1_ratios=(0,), use_legacy_attributes=False)
    return float(np.mean(probe.fit(x, y).predict(x_test) == np.array(y_test)))


def compared(place: Path, base: Artifact, x_test: Array, train: Rows, test: Rows, settings: dict[str, Any]) -> list[float]:
    """Accuracy of the encoder as it is, and after it."""
    after = fit(recipe(train, settings), place / f"after-{len(train)}-{settings['seed']}")
    return [accuracy(vectors(base, train), train, x_test, test), accuracy(vectors(after, train), train, vectors(after, test), test)]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--labels", type=int, nargs="+", default=[8], help="a class")
    asked.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked.add_argument("--epochs", type=float, default=20)
    asked.add_argument("--lr", type=float, default=1e-4)
    asked.add_argument("--test", type=int, default=400, help="rows")
    given = asked.parse_args()
    source = read_table("sample:women-reviews")
    columns = {name: source.take(name, np.arange(len(source))) for name in ("text", "department")}
    table = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True) if all(row)]
    order = np.random.default_rng(1234).permutation(len(table))
    test, rest = [table[i] for i in order[: given.test]], [table[i] for i in order[given.test :]]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        base = fit(recipe(drawn(rest, 2, 0), {"epochs": 0.01, "lr": 1e-12}), place / "base")
        x_test = vectors(base, test)
        for labels in given.labels:
            pairs = []
            for seed in given.seeds:
                settings = {"epochs": given.epochs, "lr": given.lr, "seed": seed}
                pairs.append(compared(place, base, x_test, drawn(rest, labels, seed), test, settings))
                print(f"{labels} labels a class, seed {seed}: as it is {pairs[-1][0]:.3f}, after {pairs[-1][1]:.3f}", flush=True)
            means, gains = np.mean(pairs, 0), np.diff(pairs, axis=1)
            gain = f"{gains.mean():+.3f}" + (f" (deviation over seeds {gains.std(ddof=1):.3f})" if len(pairs) > 1 else "")
            print(f"{labels} labels a class, {len(test):,} test rows: as it is {means[0]:.3f}, after contrast {means[1]:.3f}, {gain}", flush=True)


if __name__ == "__main__":
    main()
