"""zero-shot: rows are classified by texts that say what the classes are; no row of any class was needed for that.

Shape letters: n rows, C classes, P width of the vectors.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.data.table import read
from omnitune.embedding import Embedder, comparing
from omnitune.errors import Mistake, did_you_mean
from omnitune.evaluation.measure import Predictions, measure, shown
from omnitune.nn import values as cells
from omnitune.nn.heads import EmbeddingHead
from omnitune.nn.metrics import of_form
from omnitune.tasks import Task

Array = np.ndarray[Any, Any]
Answer = dict[str, Any]


class ZeroShot:
    """A trained model and classes that are texts.

    Args:
        run: a finished run with a task that compares an input with texts (`match`), or its folder.
        classes: their names.
        of: the input that rows are of; may be left out where the other input of the task is the only text.
        templates: each with one `{}`, in which the name of a class is put; the vector of a class is the mean over them (Radford et al. 2021,
            section 3.1.4).
        task: that compares the input; may be left out where only one does.
        batch: as for `Artifact.predict`.

    Raises:
        Mistake: no such run, input or task, no texts to compare with, fewer than two classes or twice the same, or a template without `{}`.
    """

    def __init__(
        self,
        run: str | Path | Artifact,
        classes: Sequence[str],
        of: str | None = None,
        templates: Sequence[str] = ("{}",),
        task: str | None = None,
        batch: int = 32,
    ) -> None:
        _check(classes, templates)
        artifact = run if isinstance(run, Artifact) else artifacts.load(run)
        of, by, task = _sides(artifact, of, task)
        self.classes, self.embedder = list(classes), artifact.embedder(of, task, batch)
        reader = artifact.embedder(by, task, batch)
        self.vectors_CP = np.stack([_mean(reader, [template.replace("{}", name) for template in templates]) for name in classes])

    def __call__(self, rows: Any) -> Iterator[Answer]:
        """One answer a row, in their order: `{"value": class, "probabilities": {class: p}}`, or `{"error": why}`.

        Args:
            rows: as for `Artifact.predict`; only the column of the input is read.
        """
        for p_nC, problems in self._probabilities(rows):
            for p_C, problem in zip(p_nC.tolist(), problems, strict=True):
                yield self._told(p_C) if problem is None else {"error": problem}

    def measure(self, table: Any, target: str) -> dict[str, Any]:
        """Metrics of a classifier on rows whose class is in a column, as `evaluation.measure` gives them; rows without a vector or of no class
        are left out, and counted as `unread` and `other`.

        Raises:
            Mistake: no such column.
        """
        found = read(table, texts={self.embedder.column})
        if target not in found.columns:
            raise Mistake(found.name, f"no column {target!r}", did_you_mean(target, found.columns))
        places = {name: place for place, name in enumerate(self.classes)}
        y_n = np.array([-1 if (name := _class(v)) is None else places.get(name, -1) for v in found.take(target, np.arange(len(found)))])
        parts = list(self._probabilities(found))
        read_n = np.array([problem is None for _, problems in parts for problem in problems])
        known = read_n & (y_n >= 0)
        predictions = Predictions(y_n[known], np.concatenate([p for p, _ in parts])[known], np.flatnonzero(known))
        figures = measure(of_form("classes", self.classes), {"zero_shot": predictions})
        return figures | {"unread": int((~read_n).sum()), "other": int((read_n & (y_n < 0)).sum())}

    def _probabilities(self, rows: Any) -> Iterator[tuple[Array, list[str | None]]]:
        head: EmbeddingHead = self.embedder.head
        for one in self.embedder(rows):
            cosines_nC = torch.from_numpy(one.vectors_nP @ self.vectors_CP.T).to(self.embedder.model.device)
            yield head.steepened(cosines_nC).softmax(1).cpu().numpy(), one.problems

    def _told(self, p_C: list[float]) -> Answer:
        return {"value": self.classes[int(np.argmax(p_C))], "probabilities": dict(zip(self.classes, p_C, strict=True))}


def values(table: Any, target: str) -> list[str]:
    """The different values of a column, in their order. Raises `Mistake` where it is not there."""
    found = read(table)
    if target not in found.columns:
        raise Mistake(found.name, f"no column {target!r}", did_you_mean(target, found.columns))
    return sorted({name for value in found.take(target, np.arange(len(found))) if (name := _class(value)) is not None})


def _class(value: Any) -> str | None:
    """The name of the class that a cell says; None where it says none."""
    return None if cells.missing(value) or cells.problem(value) else cells.name(value)


def measured(figures: dict[str, Any]) -> str:
    """What `ZeroShot.measure` found, for people."""
    left = [
        f"{figures[name]:,} {why}" for name, why in (("unread", "could not be read or are missing"), ("other", "of no such class")) if figures[name]
    ]
    first = f"{figures['rows']:,} rows" + (f"; not measured: {', '.join(left)}" if left else "")
    return "\n".join([first, *(f"{name:<18} {shown(one)}" for name, one in figures["models"]["zero_shot"].items())])


def _check(classes: Sequence[str], templates: Sequence[str]) -> None:
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    wrong = [Mistake("classes", f"{name!r} is there twice", "Name each once") for name in twice]
    if any(cells.missing(name) for name in classes):
        wrong.append(Mistake("classes", "one is empty", "Name it in words"))
    if len(classes) < 2:
        wrong.append(Mistake("classes", f"{len(classes)} cannot be told apart", "Name two or more"))
    wrong += [Mistake("template", f"{t!r} has no place for the class", "Write {} where its name goes") for t in templates if "{}" not in t]
    if not templates:
        wrong.append(Mistake("template", "there is none", 'Leave it out, or give one such as "a drawing of {}"'))
    if wrong:
        raise Mistake.together(wrong)


def _sides(artifact: Artifact, of: str | None, task: str | None) -> tuple[str, str, str]:
    """The input that rows are of, the one that reads classes, and the task that compares them."""
    recipe = artifact.recipe
    compared = list(dict.fromkeys(name for key, one in recipe.tasks.items() if task in (None, key) for name in one.compares()))
    texts = [name for name in compared if recipe.inputs[name].kind == "text"]
    others = [name for name in compared if name not in texts]
    mine = compared if len(compared) == 1 else others
    if of is None and len(mine) != 1:
        raise Mistake("of", f"rows may be of any of: {', '.join(compared) or 'no input'}", "Name the input with --of")
    of = of or mine[0]
    fit = [key for key, one in recipe.tasks.items() if of in one.compares() and _beside(one, of) in texts]
    task = fit[0] if task is None and len(fit) == 1 else comparing(recipe, of, task)
    by = _beside(recipe.tasks[task], of)
    if by not in texts:
        raise Mistake(f"input {of!r}", f"is compared with {by!r}, which is no text", "Classes are texts")
    return of, by, task


def _beside(task: Task, of: str) -> str:
    """The input that a task compares `of` with: itself where there is no other."""
    return next((name for name in task.compares() if name != of), of)


def _mean(reader: Embedder, texts: list[str]) -> Array:
    """One vector of length 1 for all of these texts, (P,)."""
    made = reader.all([{reader.column: text} for text in texts])
    if wrong := [problem for problem in made.problems if problem is not None]:
        raise Mistake(f"class text {texts[0]!r}", wrong[0], "Give another name or template")
    mean_P = made.vectors_nP.mean(0)
    return np.asarray(mean_P / max(float(np.linalg.norm(mean_P)), 1e-12))
