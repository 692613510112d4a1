"""fit: from a recipe to a measured, saved model."""

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from omnitune import artifact as artifacts
from omnitune import recipe as recipes
from omnitune import yaml_files
from omnitune.artifact import Artifact
from omnitune.data.audit import list_bad_rows
from omnitune.data.prepared import Prepared, prepare
from omnitune.errors import Mistake
from omnitune.evaluation import assess
from omnitune.evaluation.rivals import Rivals, rivals
from omnitune.evaluation.sharing import sharing
from omnitune.evaluation.synthetic import compared
from omnitune.evaluation.validate import Validate
from omnitune.recipe import Recipe
from omnitune.training import auto, balance, checkpoint, session
from omnitune.training.device import best_device
from omnitune.training.ladder import Ladder, Training
from omnitune.training.log import open_log
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen
from omnitune.training.reference import referred
from omnitune.tuning.auto import Auto


def fit(recipe: Recipe, out: str | Path, *, resume: bool = False, log: Sequence[str] = (), watch: session.Watch | None = None) -> Artifact:
    """Trains what `recipe` says, measures it before and after on the same test rows, and saves it all in `out`.

    Args:
        recipe: what to do.
        out: a folder that is empty or not there; with `resume`, the folder of a run that was cut off.
        resume: go on from its last checkpoint, bit for bit.
        log: more logs: `tensorboard`, `wandb`, `mlflow`.
        watch: called after each step, for progress bars.

    Raises:
        Mistake: the recipe, the data or the folder is wrong, memory or the disk is full, or the loss is no longer finite.
    """
    recipes.check(recipe)
    folder = session.open_folder(Path(out), resume)
    prepared, reasons = _prepared(recipe)
    with closing(prepared):
        _same_run(folder, prepared)
        if resume and (folder / "lineage.json").exists():
            return artifacts.load(folder)
        start = _start(prepared, reasons)
        with closing(start.frozen):
            _run(start, folder, resume, log, watch)
    return artifacts.load(folder, start.model.device)


def _run(start: "Start", folder: Path, resume: bool, log: Sequence[str], watch: session.Watch | None) -> None:
    prepared, model, train = start.prepared, start.model, start.prepared.recipe.train
    validate = Validate(model, prepared)
    validate.known([("train.stop_on", train.stop_on), *((f"expect.{name}", name) for name in prepared.recipe.expect)])
    logs = [open_log(name, folder) for name in log]
    beaten = rivals(model, prepared)
    loop = _ladder(start, folder, validate) if isinstance(prepared.recipe.tuning, Auto) else _loop(model, prepared, validate)
    identity = {"recipe": prepared.recipe.fingerprint, "table": prepared.table.fingerprint}
    with checkpoint.room(folder):
        prepared.recipe.write(folder / "recipe.yaml")
        list_bad_rows(folder / "bad_rows.csv", prepared.source, prepared.bad)
        session.run(loop, folder, identity, resume, logs, validate.columns(), watch)
        _finish(folder, start, loop, validate, beaten)


@dataclass(frozen=True)
class Start:
    """A run before its first step.

    Args:
        prepared: the data.
        model: tuned, on its device.
        frozen: what is known of parts that do not learn.
        digests: of the checkpoints inside the model.
        reasons: why `auto` values are what they are.
    """

    prepared: Prepared
    model: Model
    frozen: Frozen
    digests: dict[str, str]
    reasons: dict[str, str]


def _prepared(recipe: Recipe) -> tuple[Prepared, dict[str, str]]:
    """The data with a recipe without `auto`, and why its values are what they are."""
    prepared = prepare(recipe)
    train, reasons = auto.resolve(recipe, len(prepared.answered), best_device())
    return replace(prepared, recipe=recipe.replace(train=train)), reasons


def _same_run(folder: Path, prepared: Prepared) -> None:
    """Raises `Mistake` where the run in `folder` is one of another recipe or table; before anything there is touched."""
    wrong = []
    if (folder / "recipe.yaml").exists():
        there, given = yaml_files.read(folder / "recipe.yaml"), yaml_files.parse(yaml_files.write(prepared.recipe.to_dict()), "recipe")
        parts = [part for part in sorted(there.keys() | given.keys()) if part != "expect" and there.get(part) != given.get(part)]
        wrong += [Mistake(str(folder), f"belongs to another recipe: it differs in {', '.join(parts)}")] if parts else []
    if (folder / "lineage.json").exists():
        table = json.loads((folder / "lineage.json").read_text(encoding="utf-8")).get("table")
        wrong += [Mistake(str(folder), "belongs to another state of the table")] if table != prepared.table.fingerprint else []
    if wrong:
        raise Mistake.together([*wrong, Mistake("", "the run cannot go on", "Resume with the same recipe and data, or start in another folder")])


def _start(prepared: Prepared, reasons: dict[str, str]) -> Start:
    torch.manual_seed(prepared.recipe.train.seed)
    model = Model(prepared.recipe, prepared.schema)
    digests = {name: artifacts.digest(encoder) for name, encoder in model.backbones.items()}
    prepared = referred(model.to(best_device()), prepared)
    tune(model, prepared.recipe)
    balance.check(model, prepared.recipe)
    frozen = Frozen(model.to(best_device()), replace(prepared, augment=not isinstance(prepared.recipe.tuning, Auto)))
    return Start(frozen.prepared, model, frozen, digests, reasons)


def _loop(model: Model, prepared: Prepared, validate: Validate) -> Loop:
    train = prepared.recipe.train
    weights = {name: task.weight for name, task in prepared.recipe.tasks.items()}
    measured = validate if len(prepared.parts["validation"]) else None
    return Loop(model, prepared.batches("train", int(train.batch), train.seed), train, weights, measured, validate.higher(train.stop_on))


def _ladder(start: Start, folder: Path, validate: Validate) -> Ladder:
    """The climb of `tuning: auto`; what is best so far is always a whole artifact in the folder of its rung."""
    prepared = start.prepared
    measured = validate if len(prepared.parts["validation"]) else None

    def keep(rung: str) -> None:
        kept = folder / session.RUNGS / rung
        if not (kept / "lineage.json").exists():
            kept.mkdir(parents=True, exist_ok=True)
            artifacts.save(kept, prepared.recipe, prepared.schema, start.model, _lineage(start) | {"rung": rung.partition("-")[2]})
        for other in kept.parent.iterdir():
            if other != kept:
                shutil.rmtree(other)

    return Ladder(start.frozen, measured, validate.higher(prepared.recipe.train.stop_on), keep)


def _lineage(start: Start) -> dict[str, Any]:
    return {"parent": start.prepared.recipe.parent, "table": start.prepared.table.fingerprint, "bases": start.digests}


def _finish(folder: Path, start: Start, loop: Training, validate: Validate, beaten: dict[str, Rivals]) -> None:
    """Chooses the best weights, measures them, and saves; `lineage.json` comes last and marks the run as whole."""
    prepared, recipe = start.prepared, start.prepared.recipe
    assess.choose(loop, validate)
    assessment = assess.Assessment(start.model, prepared, beaten, validate)
    facts = start.frozen.facts() | start.model.paths() | loop.facts()
    together = sharing(start.model, prepared)
    facts |= {"sharing": together} if together else {}
    report = assess.report(assessment, loop, folder, facts, start.reasons, artifacts.versions())
    assessment.write_predictions(folder)
    compared(report, folder).write(folder)
    rung = {"rung": loop.climb.winner} if isinstance(loop, Ladder) else {}
    artifacts.save(folder, recipe, prepared.schema, start.model, _lineage(start) | rung)
    shutil.rmtree(folder / session.RUNGS, ignore_errors=True)
    (folder / session.FILE).unlink()
