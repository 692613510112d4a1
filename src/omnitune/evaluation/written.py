"""Written: the texts that a model writes for test rows, before and after training, beside those that are true."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import answer
from omnitune.evaluation.before import sample
from omnitune.evaluation.measure import Predictions, measure
from omnitune.nn import ngrams
from omnitune.nn import values as cells
from omnitune.nn.text_metrics import counts, quote_metrics, text_metrics
from omnitune.training.model import Model
from omnitune.training.writing import Writing

Array = np.ndarray[Any, Any]
SHOWN = 8
"""Rows whose texts a report shows."""
WORDS = {
    "simple": "the first words of the longest value in the prompt, as many as half of the training answers have",
    "before": "what the model writes before training",
}
ROWS = 1000
"""Training answers whose words are counted."""


@dataclass(frozen=True)
class Texts:
    """Of one task on some test rows.

    Args:
        rows: their numbers.
        true: the answers, one at least a row.
        said: by model, what it writes.
    """

    rows: Array
    true: list[list[str]]
    said: dict[str, list[str]]


def before(model: Model, prepared: Prepared, name: str) -> Texts | None:
    """What a simple model and the model as it stands write for up to `samples` test rows of task `name`; None where there is none."""
    task = prepared.recipe.tasks[name]
    column, *_ = task.columns()
    test = prepared.parts["test"]
    there = np.array([not cells.missing(value) for value in Column(prepared.table, column, test)], bool)
    rows = sample(test[there], task.samples, prepared.recipe.train.seed)
    if not len(rows):
        return None
    true = [[cells.text(value)] for value in Column(prepared.table, column, rows)[:]]
    return Texts(rows, true, {"simple": _firsts(prepared, name, rows), "before": write(model, prepared, name, rows)})


def quoted(model: Model, prepared: Prepared, name: str) -> Texts | None:
    """What the model as it stands quotes from up to `samples` test rows of task `name` whose answer is known; None where there is none."""
    task, recipe = prepared.recipe.tasks[name], prepared.recipe
    rows = sample(prepared.parts["test"], task.samples, recipe.train.seed)
    contexts = [cells.text(value) for value in Column(prepared.table, recipe.column(task.of), rows)]
    columns = {column: Column(prepared.table, column, rows)[:] for column in task.columns()}
    spans = task.located(contexts, columns)
    known = [i for i, some in enumerate(spans) if some is not None and contexts[i]]
    if not known:
        return None
    true = [[contexts[i][start:stop] for start, stop in spans[i]] or [""] for i in known]
    return Texts(rows[known], true, {"before": quote(model, prepared, name, rows[known])})


def quote(model: Model, prepared: Prepared, name: str, rows: Array) -> list[str]:
    """What the model says of these rows, nothing where it says that there is no answer."""
    recipe, train = prepared.recipe, prepared.recipe.train
    found = answer(model, prepared.batches("test", int(train.micro_batch), rows=rows), train.precision)[name].p
    said = recipe.tasks[name].decode(found, prepared.schema.tasks[name])
    contexts = [cells.text(value) for value in Column(prepared.table, recipe.column(recipe.tasks[name].of), rows)]
    return [recipe.tasks[name].in_words(one, [context])["value"] or "" for one, context in zip(said, contexts, strict=True)]


def write(model: Model, prepared: Prepared, name: str, rows: Array) -> list[str]:
    """What the model writes for these rows, the likeliest token always."""
    model.eval()
    values = _values(prepared, name, rows)
    asked = [{column: of[i] for column, of in values.items()} for i in range(len(rows))]
    return [written.text for written in Writing(model, prepared.recipe, prepared.schema, name)(asked)]


def told(model: Model, prepared: Prepared, name: str, texts: Texts) -> dict[str, Any]:
    """For the report: `metrics` of the texts, `examples` of them, and what the models are as `baselines`."""
    quotes = prepared.recipe.tasks[name].quotes
    said = texts.said | {"after": (quote if quotes else write)(model, prepared, name, texts.rows)}
    given = {model: Predictions(np.zeros(len(texts.rows)), counts(of, _nearest(of, texts.true)), texts.rows) for model, of in said.items()}
    shown = [{"true": texts.true[i][0]} | {model: of[i] for model, of in said.items()} for i in range(min(SHOWN, len(texts.rows)))]
    metrics = quote_metrics() if quotes else text_metrics()
    return {
        "metrics": measure(metrics, given, prepared.recipe.train.seed),
        "examples": shown,
        "baselines": {of: WORDS[of] for of in said if of in WORDS},
    }


def _nearest(said: list[str], true: list[list[str]]) -> list[str]:
    """Of several right answers the one that what was said is nearest to, as SQuAD counts."""
    return [max(of, key=lambda one: ngrams.answer(a, one)) for a, of in zip(said, true, strict=True)]


def _firsts(prepared: Prepared, name: str, rows: Array) -> list[str]:
    """The simple model: see `WORDS`."""
    column, *_ = prepared.recipe.tasks[name].columns()
    train = sample(prepared.answered, ROWS, prepared.recipe.train.seed)
    lengths = [len(cells.text(value).split()) for value in Column(prepared.table, column, train) if value is not None]
    most, values = int(np.median(lengths)), _values(prepared, name, rows)
    longest = [max((cells.text(of[i]) for of in values.values()), key=len, default="") for i in range(len(rows))]
    return [" ".join(text.split()[:most]) for text in longest]


def _values(prepared: Prepared, name: str, rows: Array) -> Mapping[str, list[Any]]:
    return {column: Column(prepared.table, column, rows)[:] for column in prepared.recipe.read_by(name).values()}
