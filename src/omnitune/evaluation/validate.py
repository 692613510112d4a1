"""Validate: the measurement during training, on the validation rows."""

import math
from collections.abc import Iterable

from omnitune.data.held import Held
from omnitune.data.prepared import Prepared
from omnitune.errors import Mistake, did_you_mean
from omnitune.evaluation import written
from omnitune.evaluation.answers import Answers, answer
from omnitune.nn.metrics import Metric
from omnitune.training.model import Model
from omnitune.training.step import Validation


class Validate:
    """Called by the loop: mean loss and every metric of every task on the validation rows, exact over all of them.

    Args:
        model: as it learns.
        prepared: the data.
        batches: of the validation rows, where they are held in memory.
    """

    def __init__(self, model: Model, prepared: Prepared, batches: Held | None = None) -> None:
        self.model, self.recipe = model, prepared.recipe
        self.batches = batches or prepared.batches("validation", int(self.recipe.train.micro_batch))
        self.metrics = {name: task.metrics(prepared.schema.tasks[name]) for name, task in self.recipe.tasks.items()}
        self.prepared, validation = prepared, prepared.parts["validation"]
        self.live = {name: written.some(prepared, name, validation, task.live) for name, task in self.recipe.tasks.items() if task.live}
        """Of tasks that are written in every round, the rows."""

    def __call__(self) -> Validation:
        return self.of(self.answers()) | self._written()

    def _written(self) -> Validation:
        """`task.metric` for every metric of texts that are written for some validation rows."""
        found: Validation = {}
        for name, rows in self.live.items():
            judge, true = self.recipe.tasks[name].judge(), written.true(self.prepared, name, rows)
            counts = judge.counts(written.write(self.model, self.prepared, name, rows)[0], true)
            found |= {f"{name}.{metric}": m.compute(counts[:, 0], counts) for metric, m in judge.metrics().items()}
        return found

    def answers(self) -> dict[str, Answers]:
        """What the model says about the validation rows now."""
        return answer(self.model, self.batches, self.recipe.train.precision)

    def of(self, answers: dict[str, Answers]) -> Validation:
        """`loss`, and `task.metric` for every metric."""
        losses = [self.recipe.tasks[name].weight * a.loss for name, a in answers.items() if a.known.any() or not math.isnan(a.loss)]
        found = {"loss": sum(losses) if losses else math.nan}
        for task in self.metrics.keys() - answers.keys():  # of a table without validation rows
            found |= {f"{task}.{name}": math.nan for name in self.metrics[task]}
        for task, a in answers.items():
            found |= {f"{task}.{name}": m.compute(a.y[a.known], a.p[a.known]) for name, m in self.metrics[task].items()}
        return found

    def known(self, names: Iterable[tuple[str, str]]) -> None:
        """Raises one `Mistake` for every name that is no metric of these tasks."""
        there = ["loss", *(f"{task}.{metric}" for task in self.metrics for metric in self._of(task))]
        texts = {
            f"expect.{name}.{metric}" for name, task in self.recipe.tasks.items() if task.writes or task.quotes for metric in task.judge().metrics()
        }
        wrong = [
            Mistake(where, f"{name!r} is not measured", did_you_mean(name, there))
            for where, name in names
            if name not in there and where not in texts
        ]
        if wrong:
            raise Mistake.together(wrong)

    def higher(self, name: str) -> bool:
        """Whether more is better in `loss` or `task.metric`."""
        task, _, metric = name.rpartition(".")
        known = self._of(task).get(metric)
        return known is not None and known.higher_is_better

    def _of(self, task: str) -> dict[str, Metric]:
        """All metrics of a round of validation."""
        known: dict[str, Metric] = dict(self.metrics.get(task, {}))
        return known | (self.recipe.tasks[task].judge().metrics() if task in self.live else {})

    def columns(self) -> list[str]:
        """The numbers of a step and of a round of validation, in the order of the log."""
        tasks = list(self.metrics)
        metrics = [f"validation.{task}.{name}" for task in tasks for name in self._of(task)]
        return ["epoch", "lr", "gradient_norm", *(f"loss.{task}" for task in tasks), "validation.loss", *metrics, "rows_per_second", "seconds"]
