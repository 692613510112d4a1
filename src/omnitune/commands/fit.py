"""fit: from a recipe to a measured, saved model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from omnitune import artifact as artifacts
from omnitune import recipe as recipes
from omnitune.artifact import Artifact
from omnitune.data.audit import list_bad_rows
from omnitune.data.prepared import Prepared, prepare
from omnitune.evaluation import assess
from omnitune.evaluation.rivals import rivals
from omnitune.evaluation.validate import Validate
from omnitune.recipe import Recipe
from omnitune.training import auto, session
from omnitune.training.device import best_device
from omnitune.training.log import open_log
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune


def fit(recipe: Recipe, out: str | Path, *, resume: bool = False, log: Sequence[str] = (), watch: session.Watch | None = None) -> Artifact:
    """Trains what `recipe` says, measures it before and after on the same test rows, and saves it all in `out`.

    Args:
        recipe: what to do.
        out: a folder that is empty or not there; with `resume`, the folder of a run that was cut off.
        resume: go on from its last checkpoint, bit for bit.
        log: more logs: `tensorboard`, `wandb`, `mlflow`.
        watch: called after each step, for progress bars.

    Raises:
        Mistake: the recipe, the data or the folder is wrong, memory ends, or the loss is no longer finite.
    """
    recipes.check(recipe)
    folder = session.open_folder(Path(out), resume)
    if resume and (folder / "lineage.json").exists():
        return artifacts.load(folder)
    prepared, device = prepare(recipe), best_device()
    train, reasons = auto.resolve(recipe, len(prepared.parts["train"]), device)
    recipe = recipe.replace(train=train)
    prepared = replace(prepared, recipe=recipe)
    recipe.write(folder / "recipe.yaml")
    list_bad_rows(folder / "bad_rows.csv", prepared.table, prepared.bad)
    model, bases = _model(prepared, device)
    validate = Validate(model, prepared)
    validate.known([("train.stop_on", train.stop_on), *((f"expect.{name}", name) for name in recipe.expect)])
    beaten = rivals(model, prepared)
    loop = Loop(
        model,
        prepared.batches("train", int(train.batch), train.seed),
        train,
        {name: task.weight for name, task in recipe.tasks.items()},
        validate if len(prepared.parts["validation"]) else None,
        validate.higher(train.stop_on),
    )
    identity = {"recipe": recipe.fingerprint, "table": prepared.table.fingerprint}
    logs = [open_log(name, folder) for name in log]
    session.run(loop, folder, identity, resume, logs, validate.columns(), watch)
    assess.choose(loop, validate)
    assessment = assess.Assessment(model, prepared, beaten, validate)
    assess.report(assessment, loop, folder, reasons, artifacts.versions()).write(folder)
    assessment.write_predictions(folder)
    artifacts.save(folder, recipe, prepared.schema, model, {"parent": recipe.parent, "table": prepared.table.fingerprint, "bases": bases})
    (folder / session.FILE).unlink()
    return artifacts.load(folder, device)


def _model(prepared: Prepared, device: torch.device) -> tuple[Model, dict[str, str]]:
    """The model as training starts, and the digests of the checkpoints inside it."""
    torch.manual_seed(prepared.recipe.train.seed)
    model = Model(prepared.recipe, prepared.schema)
    digests = {name: artifacts.digest(encoder) for name, encoder in model.backbones.items()}
    tune(model, prepared.recipe)
    return model.to(device), digests
