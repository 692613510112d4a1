"""Rows: what a report says of the data, and what makes its figures doubtful."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from omnitune.data.columns import Column
from omnitune.data.pieced import Pieced
from omnitune.data.prepared import Prepared
from omnitune.data.prompted import alone, prompted
from omnitune.evaluation import synthetic
from omnitune.evaluation.before import sample
from omnitune.evaluation.cautions import LEAK_ROWS, Caution, caution, few_rows, leaks, missing_classes
from omnitune.evaluation.rivals import truth
from omnitune.nn.metrics import like
from omnitune.nn.tokens import Batch
from omnitune.nn.values import listed
from omnitune.nn.values import name as name_of
from omnitune.recipe import MAIN
from omnitune.tasks import SelfSupervised, Target, Task

TEXTS, CHUNK = 5000, 256
"""Texts that are looked at, and how many at once."""


def facts(prepared: Prepared) -> dict[str, Any]:
    """`rows` by part, and where a model wrote some what `synthetic.facts` says; `classes` by task, part and class; how many rows are `duplicates`,
    were `equal_documents_left_out` or `dropped`; the share `truncated` by input; and of `documents` that are read in pieces, how many there are and
    their `tokens`, by part."""
    keys = prepared.keys(np.concatenate(list(prepared.sources().values())))
    return {
        "rows": prepared.schema.rows,
        **_of_pieces(prepared),
        **_of_tables(prepared),
        **synthetic.facts(prepared),
        "classes": {name: _classes(prepared.of(name), name) for name, task in prepared.recipe.tasks.items() if _counted(task)},
        "duplicates": len(keys) - len(set(keys)),
        "equal_documents_left_out": prepared.equal,
        "dropped": len({bad.row for bad in prepared.bad}),
        "truncated": {name: round(cut, 4) for name in _read(prepared) if (cut := prepared.schema.inputs[name].get("cut"))},
    }


def _read(prepared: Prepared) -> list[str]:
    """The inputs whose own values are read, not only in a prompt."""
    asked = alone(prepared.recipe)
    return [name for name in prepared.schema.inputs if not asked or name != prepared.recipe.tasks[asked].of]


def _of_tables(prepared: Prepared) -> dict[str, Any]:
    """Of several `tables` the rows of each, by part."""
    rows = {own.name: {part: len(prepared.rows_of(own, part)) for part in prepared.parts} for own in prepared.owns}
    return {"tables": rows} if rows else {}


def _of_pieces(prepared: Prepared) -> dict[str, Any]:
    if not isinstance(prepared.table, Pieced):
        return {}
    documents = {part: len(rows) for part, rows in prepared.sources().items()}
    tokens = {part: int(prepared.table.pieces.sizes[rows].sum()) for part, rows in prepared.parts.items()}
    return {"documents": documents, "tokens": tokens}


def _counted(task: Task) -> bool:
    """Whether its answers stand in columns and are classes or labels."""
    return task.supervised and like(task.form) in ("classes", "labels")


def names(learned: dict[str, Any]) -> list[str]:
    """Names of a task's classes, labels, items or levels; none for values."""
    return [name_of(value) for of in ("classes", "labels", "items", "levels") for value in learned.get(of, ())]


def doubts(prepared: Prepared, data: dict[str, Any]) -> list[Caution]:
    """Cautions about the rows themselves.

    Args:
        prepared: the data.
        data: its `facts`.
    """
    tables = {name if name == MAIN else f"tables.{name}": of for name, of in data.get("tables", {}).items()}
    found = [one for table, of in (tables or {MAIN: data.get("documents", data["rows"])}).items() for one in few_rows(of, table)]
    for name in prepared.recipe.tasks:
        own = prepared.of(name)
        found += [*missing_classes(name, data["classes"].get(name, {})), *_leaks(own, name), *_unanswered(own, name)]
    found += _unasked(prepared)
    for name, share in data["truncated"].items():
        alone = any(task.supervised is False for task in prepared.recipe.tasks.values()) and hasattr(prepared.recipe.inputs[name], "pieces")
        whole = f" inputs.{name}.pieces: true reads them whole." if alone else ""
        found.append(caution("truncated", f"inputs.{name}", f"{share:.1%} of the values are longer than is read.{whole}"))
    found += _contexts(prepared, data)
    found += _more(prepared)
    for part, rows in prepared.straddling().items():
        if rows:
            found.append(caution("straddling", f"data.{part}", f"{rows:,} {part} rows also stand in training: figures are too good."))
    found += synthetic.doubts(data)
    if equal := data["equal_documents_left_out"]:
        text = f"{equal:,} documents say letter by letter what one before them says; they neither teach nor measure."
        found.append(caution("equal", "data", text))
    if data["dropped"]:
        text = f"{data['dropped']:,} rows could not be read and were left out; bad_rows.csv lists them."
        found.append(caution("dropped", "data.bad_rows", text))
    return found


def _contexts(prepared: Prepared, data: dict[str, Any]) -> Iterator[Caution]:
    """Texts that the backbone takes less of than was asked for."""
    for name, modality in prepared.recipe.inputs.items():
        asked, read = getattr(modality, "max_tokens", None), prepared.schema.inputs[name].get("max_tokens")
        if asked and read < asked and (name == prepared.recipe.pieced or name in data["truncated"]):
            yield caution(
                "context", f"inputs.{name}.max_tokens", f"The backbone takes {read:,} tokens at once, so {asked:,} cannot be read together."
            )


def _more(prepared: Prepared) -> Iterator[Caution]:
    """Cells, of up to 5,000 that are looked at, that hold more values than are read."""
    rows = sample(prepared.once(np.concatenate(list(prepared.parts.values()))), TEXTS, prepared.recipe.train.seed)
    for name, modality in prepared.recipe.inputs.items():
        if modality.several:
            cells = Column(prepared.source, prepared.recipe.column(name), rows)
            if more := sum(len(listed(cell) or ()) > modality.most for cell in cells):
                yield caution("more", f"inputs.{name}.most", f"{more / len(rows):.1%} of the cells hold more than the {modality.most} that are read.")


def _unasked(prepared: Prepared) -> Iterator[Caution]:
    """Texts, of up to 5,000 that are looked at, that are too short for what is asked of texts themselves, or not there."""
    for name, task in prepared.recipe.tasks.items():
        rows = sample(np.concatenate(list(prepared.of(name).parts.values())), TEXTS, prepared.recipe.train.seed)
        if isinstance(task, SelfSupervised) and task.reasons:
            yield from _reasons(prepared, name, rows)
        if not isinstance(task, SelfSupervised) or task.asks != "language":
            continue
        found = cut = 0
        for some in np.array_split(rows, -(-len(rows) // CHUNK)):
            batch, target = _question(prepared, name, some)
            found += int((target["weight"] == 0).sum())
            cut += int(batch.inputs[task.of]["cut"].sum())
        if task.prompts and cut:
            text = f"Of {len(rows):,} prompts {cut:,} are longer than is read; the longest values were cut at their ends."
            yield caution("shortened", f"tasks.{name}", text)
        if task.prompts and (long := prepared.schema.tasks[name]["long"]):
            free = prepared.schema.tasks[name]["answer"]
            yield caution("cut_answers", f"tasks.{name}", f"{long:.1%} of the answers are longer than {free} tokens and were cut there.")
        if found:
            why = "rows {} have no answer, or nothing to ask with" if task.prompts else "texts {} are missing or too short to be asked about"
            text = f"Of {len(rows):,} {why.format(f'{found:,}')}; they teach and measure nothing here."
            yield caution("unasked", f"tasks.{name}", text)


def _reasons(prepared: Prepared, name: str, rows: Any) -> Iterator[Caution]:
    """What the task says of rows that it cannot ask about."""
    batches, task = prepared.batches("test", CHUNK, rows=rows), prepared.recipe.tasks[name]
    found = Counter[int]()
    for some in np.array_split(rows, -(-len(rows) // CHUNK)):
        found.update(batches.question(some).asked[name][1]["why"].tolist())
    for code, count in sorted(found.items()):
        if code:
            yield caution("unasked", f"tasks.{name}", f"Of {len(rows):,} rows {count:,} {task.reasons[code]}")


def _there(prepared: Prepared, name: str, rows: Any) -> dict[str, dict[str, torch.Tensor]]:
    """Of pictures and sounds in the prompt of task `name`, which rows have one; no file is opened."""
    recipe, found = prepared.recipe, {}
    for of in recipe.shown(name):
        values = Column(prepared.table, recipe.column(of), rows)[:]
        found[of] = {"present": torch.tensor([value is not None for value in values], dtype=torch.bool)}
    return found


def _question(prepared: Prepared, name: str, rows: Any) -> tuple[Batch, Target]:
    """What task `name` asks a text about itself, or by its prompt, of some rows as they are."""
    task, columns = prepared.recipe.tasks[name], {}
    for column in (*task.columns(), *task.needs(), *prepared.recipe.read_by(name).values()):
        columns[column] = Column(prepared.table, column, rows)[:]
    batch = Batch(_there(prepared, name, rows), rows)
    if task.prompts is None:
        of, learned = prepared.recipe.inputs[task.of], prepared.schema.inputs[task.of]
        batch = Batch({task.of: of.encode(Column(prepared.table, prepared.recipe.column(task.of), rows)[:], learned)}, rows)
    facts = prepared.schema.tasks[name]
    asked: tuple[Batch, Target] = task.prepare(prompted(prepared.recipe, prepared.schema.inputs, name, facts, batch, columns), columns, facts, None)
    return asked


def _classes(prepared: Prepared, task: str) -> dict[str, dict[str, int]]:
    every, found = names(prepared.schema.tasks[task]), {}
    for part, rows in prepared.parts.items():
        y = truth(prepared, task, rows).y
        counts = Counter(y.tolist()) if y.ndim == 1 else dict(enumerate((y > 0.5).sum(0).tolist()))
        found[part] = {name: int(counts.get(i, 0)) for i, name in enumerate(every)}
    return found


def _leaks(prepared: Prepared, name: str) -> list[Caution]:
    if not prepared.recipe.tasks[name].supervised or prepared.recipe.tasks[name].form == "ranks":
        return []
    recipe, some = prepared.recipe, sample(prepared.once(prepared.parts["train"]), LEAK_ROWS, prepared.recipe.train.seed)
    true = truth(prepared, name, some)
    kinds = {input: modality.kind for input, modality in recipe.inputs.items() if not modality.media}
    columns = {input: prepared.written(input, true.rows) for input in kinds}
    return leaks(name, like(recipe.tasks[name].form), columns, kinds, true.y)


def _unanswered(prepared: Prepared, name: str) -> Iterator[Caution]:
    task, rows = prepared.recipe.tasks[name], prepared.once(np.concatenate(list(prepared.parts.values())))
    unseen = task.unseen(
        {column: Column(prepared.table, stored, rows) for column, stored in prepared.recipe.answers(name).items()}, prepared.schema.tasks[name]
    )
    true, labels = truth(prepared, name, rows), task.form == "labels"
    without = len(rows) - len(true.y) - true.partly - (0 if labels else unseen)
    if unseen:
        what = "label that no training row has; it is left out of them" if labels else "class that no training row has; they are not measured"
        what = "item that is no candidate; they are not measured" if task.form == "ranks" else what
        yield caution("unseen_class", f"tasks.{name}", f"{unseen:,} rows have a {what}.")
    if without > 0:
        yield caution("unanswered", f"tasks.{name}", f"{without:,} rows have no answer; they teach and measure nothing here.")
    if true.partly:
        yield caution(
            "partly_answered", f"tasks.{name}", f"{true.partly:,} rows have an answer to some labels only; they teach, but are not measured."
        )
    for part in ("validation", "test"):
        if len(prepared.parts[part]) and not len(truth(prepared, name, prepared.parts[part]).y):
            yield caution("unanswered", f"tasks.{name}", f"No {part} row has an answer, so {part} says nothing of this task.")
