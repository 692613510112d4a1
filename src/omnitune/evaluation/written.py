"""Written: the texts that a model writes for test rows, before and after training, beside those that are true."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared
from omnitune.evaluation import nearest
from omnitune.evaluation.answers import answer
from omnitune.evaluation.before import sample
from omnitune.evaluation.measure import Predictions, measure
from omnitune.nn import ngrams
from omnitune.nn import values as cells
from omnitune.nn.text_metrics import Judge
from omnitune.nn.writing import Written
from omnitune.training.listening import writer
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
SHOWN = 8
"""Rows whose texts a report shows."""
WORDS = {
    "simple": "the first words of the longest value in the prompt, as many as half of the training answers have",
    "constant": "the commonest training answer",
    "before": "what the model writes before training",
}
AT_ONCE = 64
"""Rows whose values are in memory together."""
ROWS = 1000
"""Training answers whose words are counted."""


@dataclass(frozen=True)
class Texts:
    """Of one task on some test rows.

    Args:
        rows: their numbers.
        true: the answers, one at least a row.
        said: by model, what it writes.
        known: by model, how likely it took each text and whether that is what it was to be, (n, 2); models without are not there.
        words: what the models are.
    """

    rows: Array
    true: list[list[str]]
    said: dict[str, list[str]]
    known: dict[str, Array] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=lambda: WORDS)


def before(model: Model, prepared: Prepared, name: str) -> Texts | None:
    """What a simple model and the model as it stands write for up to `samples` test rows of task `name`; None where there is none."""
    task = prepared.recipe.tasks[name]
    rows = some(prepared, name, prepared.parts["test"], task.samples)
    if not len(rows):
        return None
    rival, words = {"constant": _commonest(prepared, name, len(rows))}, WORDS
    if prepared.recipe.shown(name):
        alike, told = nearest.answers(model, prepared, name, rows)
        rival, words = {"simple": alike}, WORDS | {"simple": told}
    elif task.prompts:
        rival = {"simple": _firsts(prepared, name, rows)}
    said, known = write(model, prepared, name, rows)
    return Texts(rows, [[text] for text in true(prepared, name, rows)], rival | {"before": said}, {"before": known}, words)


def some(prepared: Prepared, name: str, rows: Array, most: int) -> Array:
    """Up to so many of `rows` that have an answer to task `name`."""
    column, *_ = prepared.recipe.tasks[name].columns()
    there = np.array([not cells.missing(value) for value in Column(prepared.table, column, rows)], bool)
    return sample(rows[there], most, prepared.recipe.train.seed)


def true(prepared: Prepared, name: str, rows: Array) -> list[str]:
    """The answers of these rows."""
    column, *_ = prepared.recipe.tasks[name].columns()
    return [cells.text(value) for value in Column(prepared.table, column, rows)[:]]


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


def write(model: Model, prepared: Prepared, name: str, rows: Array) -> tuple[list[str], Array]:
    """What the model writes for these rows, the likeliest token always; and of each text how likely it is, and whether it is what it was to be,
    (n, 2)."""
    model.eval()
    write, made = writer(model, prepared.recipe, prepared.schema, name), list[Written]()
    for some in np.array_split(rows, -(-len(rows) // AT_ONCE) or 1):  # so that no more files are open
        values = _values(prepared, name, some)
        made += write([{column: of[i] for column, of in values.items()} for i in range(len(some))])
    known = [[math.prod(one.probabilities) if one.probabilities else math.nan, math.nan if one.meets is None else one.meets] for one in made]
    return [one.text for one in made], np.array(known, np.float64).reshape(len(made), 2)


def told(model: Model, prepared: Prepared, name: str, texts: Texts) -> dict[str, Any]:
    """For the report: `metrics` of the texts, `examples` of them, and what the models are as `baselines`."""
    task = prepared.recipe.tasks[name]
    after, known = (quote(model, prepared, name, texts.rows), None) if task.quotes else write(model, prepared, name, texts.rows)
    said, sure = texts.said | {"after": after}, texts.known | ({} if known is None else {"after": known})
    given = {
        model: Predictions(np.zeros(len(texts.rows)), _counted(task.judge(), of, texts.true, sure.get(model)), texts.rows)
        for model, of in said.items()
    }
    shown = [{"true": texts.true[i][0]} | {model: of[i] for model, of in said.items()} for i in range(min(SHOWN, len(texts.rows)))]
    words = {model: what for model, what in texts.words.items() if model in said}
    return {"metrics": measure(task.judge().metrics(), given, prepared.recipe.train.seed), "examples": shown, "baselines": words}


def _counted(judge: Judge, said: list[str], true: list[list[str]], known: Array | None) -> Array:
    """The counts of texts, and behind them what is known of each."""
    counts = judge.counts(said, _nearest(said, true))
    return np.concatenate([counts, np.full((len(said), 2), np.nan) if known is None else known], 1)


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


def _commonest(prepared: Prepared, name: str, n: int) -> list[str]:
    """The same answer for `n` rows."""
    column, *_ = prepared.recipe.tasks[name].columns()
    train = sample(prepared.answered, ROWS, prepared.recipe.train.seed)
    seen = Counter(cells.text(value) for value in Column(prepared.table, column, train) if not cells.missing(value))
    return [seen.most_common(1)[0][0] if seen else ""] * n


def _values(prepared: Prepared, name: str, rows: Array) -> Mapping[str, list[Any]]:
    recipe, task = prepared.recipe, prepared.recipe.tasks[name]
    if task.prompts is None:
        column = recipe.column(task.of)
        return {column: Column(prepared.table, column, rows, recipe.inputs[task.of].media)[:]}
    columns = dict.fromkeys(recipe.read_by(name).values(), False) | {recipe.column(of): recipe.inputs[of].media for of in recipe.shown(name)}
    return {column: Column(prepared.table, column, rows, media)[:] for column, media in columns.items()}
