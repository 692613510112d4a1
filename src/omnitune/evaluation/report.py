"""Report: everything that was measured in a run, as JSON, Markdown, one HTML page and a model card."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from omnitune.errors import Mistake
from omnitune.evaluation.tables import plain, task_table

FORMAT = 1
FILE = "report.json"
Facts = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """Plain JSON values behind attributes; undefined figures are None.

    Args:
        name: title of the run.
        tasks: by name: `form` (classes, labels or value); `metrics`, from `measure.measure`, its models among constant, simple, before and
            after; `details`, from `details.details`; `baselines` {model: description}; of several inputs `inputs`: `metrics` with some inputs
            only, from `inputs.worth`, or a `note` why not, and `weights` {input: mean} where the fusion weighs them; of a task that writes texts
            `written`, from `written.told`; `alone`, where it was asked for: `metrics` (models alone and together), rows `shared`, `only_a`,
            `only_b`, and `seconds` of training alone; `synthetic`, where the run that filtered synthetic rows is there: `metrics` (models without
            and with them), and rows as of `alone`.
        curves: a dictionary a step (or a selection of steps): `step`, `epoch`, `seconds`, `losses` {task: mean}, `lr`, and `validation`
            {loss and task.metric: value} or None.
        cost: `seconds`, `rows_per_second`, `peak_memory_bytes`, `parameters_total`, `parameters_trainable`, `device`; of several tasks `sharing`, see
            `sharing.sharing`; more may follow.
        data: `rows` {part: rows}, `classes` {task: {part: {class: rows}}}, and counts such as `duplicates`, `dropped`, `truncated`; where a model
            wrote training rows `synthetic`, from `synthetic.facts`.
        warnings: cautions, each `name`, `where` and `text`.
        recipe: as trained, plain values.
        reasons: why a value that was `auto` is what it is, by its dotted path.
        versions: of the libraries.
    """

    name: str
    tasks: Mapping[str, Facts]
    curves: list[Facts]
    cost: Facts
    data: Facts
    warnings: list[dict[str, str]]
    recipe: Facts
    reasons: Mapping[str, str]
    versions: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "Report":
        """From `report.json`, or the folder that holds it. Raises `Mistake` where it is not there, damaged or of another format."""
        file = path / FILE if path.is_dir() else path
        if not file.exists():
            raise Mistake(str(path), "no report here", "Give the folder of a finished run")
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise Mistake(str(file), f"format {values['format']}, this version reads {FORMAT}", "Use the omnitune that wrote it")
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise Mistake(str(file), f"damaged: {error!r}", "Copy the run again") from None

    def to_json(self) -> str:
        """As JSON text, strict: no NaN."""
        return json.dumps({"format": FORMAT} | asdict(self), indent=1, ensure_ascii=False, allow_nan=False)

    def write(self, folder: Path) -> None:
        """Writes `report.json`, `report.md`, `report.html` and `README.md`, a model card."""
        from omnitune.evaluation.card import card
        from omnitune.evaluation.document import document
        from omnitune.evaluation.page import page

        for name, text in {FILE: self.to_json(), "report.md": document(self), "report.html": page(self), "README.md": card(self)}.items():
            (folder / name).write_text(text, encoding="utf-8")

    def value(self, task: str, metric: str) -> float | None:
        """A metric of the trained model on the test rows; None where it is undefined or not measured."""
        found = self.tasks.get(task, {})
        measured = [part["metrics"] for part in (found, found.get("written")) if part]
        value = next((m["models"][m["subject"]][metric]["value"] for m in measured if metric in m["higher"]), None)
        return None if value is None else float(value)

    def _parts(self) -> list[tuple[str, Facts]]:
        """All that has metrics of its own: tasks, and what they wrote."""
        found = [((name, task), (f"{name}, written", task.get("written"))) for name, task in self.tasks.items()]
        return [(name, part) for pair in found for name, part in pair if part]

    def __str__(self) -> str:
        """The table of before and after, for a terminal."""
        blocks = [f"{heading(name, part)}\n\n{plain(task_table(part['metrics']))}" for name, part in self._parts()]
        cautions = "\n".join(f"warning: {caution['where']}: {caution['text']}" for caution in self.warnings)
        return "\n\n".join([*blocks, *([cautions] if cautions else [])])


def heading(name: str, task: Facts) -> str:
    """`mood: 1,234 test rows`."""
    return f"{name}: {task['metrics']['rows']:,} test rows"
