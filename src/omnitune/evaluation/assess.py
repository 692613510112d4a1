"""Assess: what a run proved, as its report: constant, simple, before and after on the same test rows, and what lies behind."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from omnitune.data.prepared import Prepared
from omnitune.evaluation import cautions, inputs, rows, stored, written
from omnitune.evaluation.answers import Answers, answer
from omnitune.evaluation.calibration import apply_temperature, temperature
from omnitune.evaluation.details import details
from omnitune.evaluation.expect import check
from omnitune.evaluation.measure import Predictions, measure
from omnitune.evaluation.report import Report
from omnitune.evaluation.rivals import Rivals
from omnitune.evaluation.validate import Validate
from omnitune.nn.heads import ClassHead, LinearHead
from omnitune.nn.metrics import like
from omnitune.training.device import peak_memory
from omnitune.training.ladder import Training
from omnitune.training.log import curves
from omnitune.training.model import Model

if TYPE_CHECKING:
    from omnitune.training.trials import Trial

Array = np.ndarray[Any, Any]
ALONE = "no memory"
"""The rival of a model that reads pieces of texts with a memory: itself without one."""
CURVE = 400
"""Steps of the curves a report keeps, evenly chosen; the log has all."""


def choose(loop: "Training | Trial", validate: Validate) -> None:
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
        test = prepared.batches("test", int(train.micro_batch))
        self.examined = inputs.examine(model, test, train.precision) if len(prepared.parts["test"]) else inputs.Examined({})
        self.test = self.examined.whole
        self.alone = self._answered_alone()
        for name, answers in self.validation.items():
            self._calibrate(name, _predictions(answers))

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Of every task: form, metrics of all models, details, words about the rivals."""
        return {name: self._task(name) for name in self.recipe.tasks if name in self.test}

    def _task(self, name: str) -> dict[str, Any]:
        task, facts = self.recipe.tasks[name], self.prepared.schema.tasks[name]
        raw = self._counted(name, _predictions(self.test[name]))
        calibrated = like(task.form) != "classes" or isinstance(self.model.head(name), ClassHead)
        validation = _predictions(self.validation[name]) if name in self.validation and calibrated else None
        after = self._as_saved(name, raw)
        first, rivals, words = _predictions(self.test[name]), self.rivals[name].p, self.rivals[name].words
        if name in self.alone and not task.supervised:  # what has answers is asked of first pieces, which nothing comes before
            alone = self.alone[name]
            rivals, words = rivals | {ALONE: alone.p[alone.known]}, words | {ALONE: "after training, each piece told nothing of those before it"}
        models = {model: self._counted(name, Predictions(first.y, p, first.rows)) for model, p in rivals.items()} | {"after": after}
        return {
            "form": task.form,
            "metrics": measure(task.metrics(facts), models, self.recipe.train.seed),
            "details": details(task.form, rows.names(facts), raw, validation),
            "baselines": words,
            **self._inputs(name, after),
            **self._texts(name),
        }

    def _texts(self, name: str) -> dict[str, Any]:
        """What is written for test rows; empty where the task writes nothing."""
        texts = self.rivals[name].texts
        return {} if texts is None else {"written": written.told(self.model, self.prepared, name, texts)}

    def _inputs(self, name: str, after: Predictions) -> dict[str, Any]:
        """What inputs are worth to a task, and how much the fusion counts each; empty where there is one, or the task does not read their fusion."""
        if len(self.model.inputs) == 1 or not isinstance(self.model.head(name), LinearHead):
            return {}
        seed, metrics = self.recipe.train.seed, self.recipe.tasks[name].metrics(self.prepared.schema.tasks[name])
        found = {reads: _predictions(answers[name]) for reads, answers in self.examined.partly.items()}
        partly = {reads: self._as_saved(name, self._counted(name, given)) for reads, given in found.items()}
        asked = self.test[name].rows[self.test[name].known]
        weights = {of: weight[np.isin(self.examined.rows, asked)] for of, weight in self.examined.weights.items()}
        told = {"metrics": inputs.worth(metrics, after, partly, seed)} if partly else {"note": inputs.TOO_MANY}
        return {"inputs": told | ({"weights": inputs.mean_weights(weights, seed)} if weights else {})}

    def _answered_alone(self) -> dict[str, Answers]:
        """What a model that remembers says about the test rows without its memory; nothing of others."""
        train = self.recipe.train
        remembers = any(backbone.went_on for backbone in self.model.backbones.values())
        return answer(self.model, self.prepared.batches("test", int(train.micro_batch)), train.precision, remembers=False) if remembers else {}

    def _calibrate(self, name: str, validation: Predictions) -> None:
        """Fits the temperature of a head of classes on the validation rows."""
        head = self.model.head(name)
        if isinstance(head, ClassHead) and len(validation.y):
            head.temperature.fill_(temperature(validation.y, validation.p))

    def _as_saved(self, name: str, raw: Predictions) -> Predictions:
        """Predictions as the saved model will make them."""
        head = self.model.head(name)
        return Predictions(raw.y, apply_temperature(raw.p, float(head.temperature)), raw.rows) if isinstance(head, ClassHead) else raw

    def _counted(self, name: str, given: Predictions) -> Predictions:
        """By rows of the source: what the pieces of a document cost is added up, since they are no rows of their own to an interval, and so that runs
        with other tokenizers can be compared. Other answers are those of first pieces."""
        rows, which = np.unique(self.prepared.table.origin(given.rows), return_inverse=True)
        if self.recipe.tasks[name].form != "tokens":
            assert len(rows) == len(given.rows), "a document answers once"
            return replace(given, rows=rows[which])
        y, p = np.zeros((len(rows), 2)), np.zeros((len(rows), 2))
        np.add.at(y, which, given.y)
        np.add.at(p, which, given.p)
        return Predictions(y, p, rows)

    def write_predictions(self, folder: Path) -> None:
        """Stores the answers on the test rows, for later comparisons."""
        test = self.prepared.sources()["test"]
        keys = dict(zip(test.tolist(), self.prepared.keys(test), strict=True))
        found = {}
        for name, answers in self.test.items():
            task, given = self.recipe.tasks[name], self._as_saved(name, self._counted(name, _predictions(answers)))
            found[name] = stored.Stored(task.form, rows.names(self.prepared.schema.tasks[name]), given, [f"{keys[int(r)]:016x}" for r in given.rows])
        stored.write(folder, found)


def report(assessment: Assessment, loop: Training, folder: Path, facts: dict[str, Any], reasons: dict[str, str], versions: dict[str, str]) -> Report:
    """The whole report of a run in `folder`; `facts`: how inputs were read and rungs climbed; `reasons`: why `auto` values are what they are."""
    recipe, tasks, data = assessment.recipe, assessment.tasks(), rows.facts(assessment.prepared)
    log = curves(folder / "log.csv")
    warnings = rows.doubts(assessment.prepared, data) + cautions.unwatched(recipe.train.stop_on, log)
    warnings += [caution for name, task in tasks.items() for caution in cautions.simple_wins(name, task["metrics"])]
    made = Report(folder.resolve().name, tasks, thin(log), cost(loop, log) | facts, data, warnings, recipe.to_dict(), reasons, versions)
    return replace(made, warnings=warnings + [cautions.caution("unexpected", "expect", miss) for miss in check(made, recipe.expect)])


def cost(loop: Training, log: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds, speed, memory and parameters of the training."""
    model = loop.model
    counts = {"total": sum(p.numel() for p in model.parameters()), "trainable": sum(p.numel() for p in model.learning().values())}
    return {
        "seconds": round(loop.progress.seconds, 1),
        "waited_for_input": f"{loop.progress.idle:.1f} s, {loop.progress.idle / max(loop.progress.seconds, 1e-9):.1%} of the time",
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
