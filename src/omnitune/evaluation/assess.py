"""Assess: what a run proved, as its report: constant, simple, before and after on the same test rows, and what lies behind."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared, identity, media
from omnitune.data.split import digests, leaks
from omnitune.evaluation import cautions, stored
from omnitune.evaluation.answers import Answers, answer
from omnitune.evaluation.calibration import apply_temperature, temperature
from omnitune.evaluation.details import details
from omnitune.evaluation.expect import check
from omnitune.evaluation.measure import Predictions, measure
from omnitune.evaluation.report import Report
from omnitune.evaluation.rivals import Rivals, truth
from omnitune.evaluation.validate import Validate
from omnitune.nn.heads import ClassifyHead
from omnitune.training.device import peak_memory
from omnitune.training.log import curves
from omnitune.training.loop import Loop
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
LEAK_ROWS = 5000
CURVE = 400
"""Steps of the curves a report keeps, evenly chosen; the log has all."""


def choose(loop: Loop, validate: Validate) -> None:
    """Sets the best weights on validation: those of the best round, or the average of the best rounds where that is better still."""
    scored = []
    for weights in loop.candidates():
        loop.put(weights)
        if len(loop.candidates()) == 1:
            return
        value = validate()[loop.train.stop_on]
        scored.append((value if loop.higher else -value, weights))
    if scored:
        loop.put(max(scored, key=lambda pair: pair[0])[1])


class Assessment:
    """The measurement of one finished run.

    Args:
        model: with its final weights; heads of classes get their temperature here.
        prepared: the data.
        rivals: from before training.
        validate: has the validation rows.
    """

    def __init__(self, model: Model, prepared: Prepared, rivals: dict[str, Rivals], validate: Validate) -> None:
        self.model, self.prepared, self.rivals, self.recipe = model, prepared, rivals, prepared.recipe
        train = self.recipe.train
        self.validation = validate.answers() if len(prepared.parts["validation"]) else {}
        self.test = answer(model, prepared.batches("test", int(train.micro_batch)), train.precision) if len(prepared.parts["test"]) else {}

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Of every task: form, metrics of all models, details, words about the rivals."""
        return {name: self._task(name) for name in self.recipe.tasks if name in self.test}

    def _task(self, name: str) -> dict[str, Any]:
        task, facts = self.recipe.tasks[name], self.prepared.schema.tasks[name]
        raw = _predictions(self.test[name])
        validation = _predictions(self.validation[name]) if name in self.validation else None
        self._calibrate(name, validation)
        after = self._as_saved(name, raw)
        models = {model: Predictions(raw.y, p, raw.rows) for model, p in self.rivals[name].p.items()} | {"after": after}
        return {
            "form": task.form,
            "metrics": measure(task.metrics(facts), models, self.recipe.train.seed),
            "details": details(task.form, _names(facts), raw, validation),
            "baselines": self.rivals[name].words,
        }

    def _calibrate(self, name: str, validation: Predictions | None) -> None:
        """Fits the temperature of a head of classes on the validation rows."""
        head = self.model.head(name)
        if isinstance(head, ClassifyHead) and validation is not None and len(validation.y):
            head.temperature.fill_(temperature(validation.y, validation.p))

    def _as_saved(self, name: str, raw: Predictions) -> Predictions:
        """Predictions as the saved model will make them."""
        head = self.model.head(name)
        return Predictions(raw.y, apply_temperature(raw.p, float(head.temperature)), raw.rows) if isinstance(head, ClassifyHead) else raw

    def write_predictions(self, folder: Path) -> None:
        """Stores the answers on the test rows, for later comparisons."""
        keys = dict(zip(self.prepared.parts["test"].tolist(), self._keys(self.prepared.parts["test"]), strict=True))
        found = {}
        for name, answers in self.test.items():
            task, given = self.recipe.tasks[name], self._as_saved(name, _predictions(answers))
            found[name] = stored.Stored(task.form, _names(self.prepared.schema.tasks[name]), given, [f"{keys[int(r)]:016x}" for r in given.rows])
        stored.write(folder, found)

    def _keys(self, rows: Array) -> list[int]:
        fallback = [self.recipe.column(name) for name in self.recipe.inputs]
        return digests(self.prepared.table, rows, identity(self.recipe), media(self.recipe), fallback).tolist()  # type: ignore[no-any-return]

    def data(self) -> dict[str, Any]:
        """Rows and classes by part, and what was noticed about rows."""
        prepared = self.prepared
        every = np.concatenate(list(prepared.parts.values()))
        keys = self._keys(every)
        classes = {name: self._classes(name) for name, task in self.recipe.tasks.items() if task.form != "value"}
        facts = {"rows": prepared.schema.rows, "classes": classes, "duplicates": len(keys) - len(set(keys)), "dropped": len(prepared.bad)}
        return facts | {"truncated": {name: round(share, 4) for name, share in self._cut().items()}}

    def _cut(self) -> dict[str, float]:
        """Share of values that were too long and lost their end, by input."""
        return {name: facts["cut"] for name, facts in self.prepared.schema.inputs.items() if facts.get("cut")}

    def _classes(self, task: str) -> dict[str, dict[str, int]]:
        names = _names(self.prepared.schema.tasks[task])
        found = {}
        for part, rows in self.prepared.parts.items():
            y = truth(self.prepared, task, rows).y
            counts = Counter(y.tolist()) if y.ndim == 1 else dict(enumerate((y > 0.5).sum(0).tolist()))
            found[part] = {name: int(counts.get(i, 0)) for i, name in enumerate(names)}
        return found

    def warnings(self, tasks: dict[str, dict[str, Any]], data: dict[str, Any]) -> list[dict[str, str]]:
        """Everything a reader must know before trusting the figures."""
        found = cautions.few_rows(data["rows"])
        for name in self.recipe.tasks:
            found += cautions.missing_classes(name, data["classes"].get(name, {}))
            found += cautions.simple_wins(name, tasks[name]["metrics"]) if name in tasks else []
            found += self._leaks(name) + self._unanswered(name)
        found += [
            cautions.caution("truncated", f"inputs.{n}", f"{share:.1%} of the values are longer than is read.") for n, share in self._cut().items()
        ]
        return found + self._straddling() + self._dropped()

    def _leaks(self, name: str) -> list[dict[str, str]]:
        true = truth(self.prepared, name, self.prepared.parts["train"][:LEAK_ROWS])
        kinds = {input: m.kind for input, m in self.recipe.inputs.items() if not m.media}
        columns = {input: Column(self.prepared.table, self.recipe.column(input), true.rows)[:] for input in kinds}
        return cautions.leaks(name, self.recipe.tasks[name].form, columns, kinds, true.y)

    def _unanswered(self, name: str) -> list[dict[str, str]]:
        task, facts = self.recipe.tasks[name], self.prepared.schema.tasks[name]
        rows = np.concatenate(list(self.prepared.parts.values()))
        empty = len(rows) - sum(len(truth(self.prepared, name, part).y) for part in self.prepared.parts.values())
        columns = {column: Column(self.prepared.table, column, rows) for column in task.columns()}
        unseen = task.unseen(columns, facts)
        found = []
        if unseen:
            found.append(
                cautions.caution("unseen_class", f"tasks.{name}", f"{unseen:,} rows have a class that no training row has; they are not measured.")
            )
        if empty > unseen:
            found.append(
                cautions.caution("unanswered", f"tasks.{name}", f"{empty - unseen:,} rows have no answer; they teach and measure nothing here.")
            )
        return found

    def _straddling(self) -> list[dict[str, str]]:
        if self.recipe.data.split != "given":
            return []
        fallback = [self.recipe.column(name) for name in self.recipe.inputs]
        found = leaks(self.prepared.table, self.prepared.parts, identity(self.recipe), media(self.recipe), fallback)
        return [
            cautions.caution("straddling", f"data.{p}", f"{n:,} {p} rows also stand in training: figures are too good.")
            for p, n in found.items()
            if n
        ]

    def _dropped(self) -> list[dict[str, str]]:
        bad = {row.row for row in self.prepared.bad}
        text = f"{len(bad):,} rows could not be read and were left out; bad_rows.csv lists them."
        return [cautions.caution("dropped", "data.bad_rows", text)] if bad else []


def report(assessment: Assessment, loop: Loop, folder: Path, reasons: dict[str, str], versions: dict[str, str]) -> Report:
    """The whole report of a run in `folder`."""
    recipe, tasks, data = assessment.recipe, assessment.tasks(), assessment.data()
    log = curves(folder / "log.csv")
    warnings = assessment.warnings(tasks, data)
    made = Report(folder.resolve().name, tasks, thin(log), cost(loop, log), data, warnings, recipe.to_dict(), reasons, versions)
    return replace(made, warnings=warnings + [cautions.caution("unexpected", "expect", miss) for miss in check(made, recipe.expect)])


def cost(loop: Loop, log: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds, speed, memory and parameters of the training."""
    model = loop.model
    counts = {"total": sum(p.numel() for p in model.parameters()), "trainable": sum(p.numel() for p in model.learning().values())}
    return {
        "seconds": round(loop.progress.seconds, 1),
        "rows_per_second": round(float(np.median([step["rows_per_second"] for step in log])), 1) if log else None,
        "peak_memory_bytes": peak_memory(model.device),
        "parameters_total": counts["total"],
        "parameters_trainable": counts["trainable"],
        "device": torch.cuda.get_device_name() if model.device.type == "cuda" else f"{model.device.type}, {torch.get_num_threads()} threads",
        "steps": loop.progress.step,
        "stopped": loop.progress.stopped,
    }


def thin(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The log as curves: every round of validation and evenly chosen steps between."""
    every = max(1, len(log) // CURVE)
    steps = []
    for i, row in enumerate(log):
        validation = {k.removeprefix("validation."): v for k, v in row.items() if k.startswith("validation.")}
        if validation or i % every == 0:
            losses = {k.removeprefix("loss."): v for k, v in row.items() if k.startswith("loss.")}
            plain = {k: row[k] for k in ("step", "epoch", "seconds", "lr")}
            steps.append(plain | {"losses": losses, "validation": {k: v if np.isfinite(v) else None for k, v in validation.items()} or None})
    return steps


def _predictions(answers: Answers) -> Predictions:
    return Predictions(answers.y[answers.known], answers.p[answers.known], answers.rows[answers.known])


def _names(facts: dict[str, Any]) -> list[str]:
    from omnitune.nn.values import name

    return [name(value) for value in facts.get("classes", facts.get("labels", ()))]
