"""A small report of three tasks, measured on made-up predictions, with names that try to break pages."""

from collections import Counter
from functools import cache

import numpy as np

from omnitune.evaluation.details import details
from omnitune.evaluation.measure import Predictions, measure
from omnitune.evaluation.report import Report
from omnitune.nn.metrics import of_form

NAMES = ["<b>no</b>", "ja | $x$ 日本", 'c](http://bad.example) id="x"']


def predictions(form, n=150, skill=1.0, seed=0):
    """Answers of a model that knows the truth as well as `skill` says; the truth depends on the form alone."""
    truth, rng = np.random.default_rng(7), np.random.default_rng(seed)
    if form == "classes":
        y = truth.integers(3, size=n)
        logits = skill * np.eye(3)[y] + rng.normal(size=(n, 3))
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    elif form == "labels":
        y = truth.integers(2, size=(n, 3))
        p = 1 / (1 + np.exp(-(skill * (2 * y - 1) + rng.normal(size=(n, 3)))))
    else:
        y = truth.normal(size=n)
        p = y + rng.normal(size=n) / (0.5 + skill)
    return Predictions(y, p, np.arange(n))


def task(form):
    skills = {"constant": 0.0, "simple": 0.5, "before": 1.0, "after": 3.0}
    models = {name: predictions(form, skill=skill, seed=i) for i, (name, skill) in enumerate(skills.items())}
    names = [] if form == "value" else NAMES
    return {
        "form": form,
        "metrics": measure(of_form(form, "abc"), models, resamples=50),
        "details": details(form, names, models["after"], predictions(form, n=80, skill=3.0, seed=9)),
        "baselines": {"constant": "shares of the classes", "simple": "TF-IDF <i>of</i> text"},
    } | ({"inputs": inputs()} if form == "classes" else {})


def inputs():
    """What two inputs are worth, and how much each counts."""
    partly = {
        f"{name} alone": predictions("classes", skill=skill, seed=i) for i, (name, skill) in enumerate({"<i>text</i>": 2.0, "a|ge": 0.5}.items())
    }
    metrics = measure(
        {"accuracy": of_form("classes", "abc")["accuracy"]}, partly | {"all inputs": predictions("classes", skill=3.0, seed=3)}, resamples=50
    )
    return {"metrics": metrics, "weights": {"<i>text</i>": {"value": 0.7, "low": 0.6, "high": 0.8}, "a|ge": {"value": 0.3, "low": 0.2, "high": 0.4}}}


@cache
def report():
    steps = [
        {
            "step": i,
            "epoch": i / 20,
            "seconds": 0.1 * i,
            "losses": {"mood": 1 / i, "stars": 2 / i},
            "lr": 1e-4 / i,
            "validation": {"loss": 3 / i, "mood.accuracy": 1 - 1 / i, "stars.mae": None} if i % 20 == 0 else None,
        }
        for i in range(1, 61)
    ]
    counts = {part: dict(Counter(NAMES[i % 3] for i in range(n))) for part, n in (("train", 60), ("test", 150))}
    return Report(
        name="reviews <script>alert(1)</script>",
        tasks={"mood": task("classes"), "tags": task("labels"), "stars": task("value")},
        curves=steps,
        cost={"seconds": 83.2, "rows_per_second": 812.3, "peak_memory_bytes": 912_000_000, "parameters_total": 22_000_000, "device": "cpu"},
        data={"rows": {"train": 60, "validation": 80, "test": 150}, "classes": {"mood": counts}, "duplicates": 3, "truncated": {"text": 2}},
        warnings=[{"name": "leak", "where": "inputs.<u>id</u>", "text": "Column 'id' & co"}],
        recipe={
            "data": {"from": "reviews.parquet#500"},
            "inputs": {"review": {"kind": "text", "backbone": {"kind": "pretrained", "name": "some/model"}}, "age": {"kind": "number"}},
            "tasks": {"mood": {"kind": "classify", "target": "m"}},
        },
        reasons={"train.lr": "2e-5 <- full tuning"},
        versions={"torch": "2.13.0"},
    )
