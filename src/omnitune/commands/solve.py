"""solve: how often code that a model writes passes its tests. Runs that code, so never without being told to."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.data.table import Table, read
from omnitune.errors import Mistake, did_you_mean
from omnitune.evaluation import sandbox
from omnitune.evaluation.measure import Predictions, measure, shown
from omnitune.evaluation.sandbox import PASSED, Limits
from omnitune.nn import values as cells
from omnitune.nn.passing import passing_metrics
from omnitune.nn.writing import Sampling
from omnitune.training.writing import GREEDY

Array = np.ndarray[Any, Any]


def solve(
    run: str | Path | Artifact,
    rows: Any,
    tests: str,
    *,
    run_code: bool = False,
    before: str | None = None,
    task: str | None = None,
    tries: int = 1,
    k: Sequence[int] = (1,),
    sampling: Sampling = GREEDY,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    workers: int = 1,
) -> dict[str, Any]:
    """`pass@k` of the code that a task writes: how likely one of `k` texts passes (Chen et al. 2021, https://arxiv.org/abs/2107.03374, section 2.1).

    A program is what `before` holds, the text, and the tests; it passes where it runs to its end. See `evaluation.sandbox` for what it is kept from.

    Args:
        run: a finished run with a task that writes, or its folder.
        rows: as for `Artifact.predict`, with what the prompt names.
        tests: the column of the code that fails where the answer is wrong, such as lines of `assert`. Rows without are left out.
        run_code: runs it. Nobody has read that code.
        before: a column of code before the text, such as the line that the text goes on from.
        task: that writes; may be left out where one does.
        tries: texts a row, drawn with seeds of their own.
        k: see above; at most `tries`.
        sampling: how texts are drawn.
        limits: of each program.
        workers: programs at once.

    Returns:
        `metrics` as `evaluation.measure` gives them, of the model `written`; `tries`; `untested` rows; `came`, how often what came of a program;
        `passed`, by row how often; `isolated`, see `evaluation.sandbox.Isolation`.

    Raises:
        Mistake: `run_code` is not said, or a column, the task or a number cannot be meant.
    """
    if not run_code:
        raise Mistake("solve", "would run code that a model wrote, and that nobody has read", "Say --run-code, on a machine that may be lost")
    _check(tries, k, sampling)
    artifact = run if isinstance(run, Artifact) else artifacts.load(run)
    task = _task(artifact, task)
    table = read(rows, texts={*artifact.recipe.columns, tests, *([before] if before else [])})
    checks, heads = _texts(table, tests), _texts(table, before) if before else [""] * len(table)
    asked = [i for i, check in enumerate(checks) if check]
    if not asked:
        raise Mistake(table.name, f"no row has tests in {tests!r}", "Fill the column")
    came = []
    for number in range(tries):
        answers = artifact.predict(table, sampling=replace(sampling, seed=sampling.seed + number))
        programs = [f"{heads[i]}{_text(answers[i], task)}\n{checks[i]}\n" for i in asked]
        with ThreadPoolExecutor(workers) as pool:
            came.append(list(pool.map(lambda program: sandbox.run(program, limits), programs)))
    return _measured(came, asked, k) | {"untested": len(table) - len(asked), "isolated": asdict(sandbox.isolated())}


def text(found: dict[str, Any]) -> str:
    """What `solve` found, for people."""
    lines = [f"{name:<10} {shown(one)}" for name, one in found["metrics"]["models"]["written"].items()]
    rest = [f"{len(found['passed']):,} rows, {found['tries']} texts each" + (f"; {found['untested']:,} without tests" if found["untested"] else "")]
    rest += ["programs: " + ", ".join(f"{name} {number:,}" for name, number in found["came"].items())]
    open_to = [
        name
        for name, kept in {"the network": "network", "other processes": "others", "files elsewhere": "files"}.items()
        if not found["isolated"][kept]
    ]
    rest += [f"NOT isolated on this machine: {', '.join(open_to)}"] if open_to else []
    return "\n".join([*lines, *rest])


def _measured(came: list[list[str]], asked: list[int], k: Sequence[int]) -> dict[str, Any]:
    passed = (np.array(came) == PASSED).sum(0)
    counts = np.stack([passed, np.full(len(passed), len(came))], 1).astype(np.float64)
    figures = measure(passing_metrics(k), {"written": Predictions(np.zeros(len(passed)), counts, np.array(asked))})
    commonest = dict(Counter(one for some in came for one in some).most_common())
    return {"metrics": figures, "tries": len(came), "came": commonest, "passed": dict(zip(asked, passed.tolist(), strict=True))}


def _check(tries: int, k: Sequence[int], sampling: Sampling) -> None:
    wrong = [Mistake("k", f"{one} of {tries} texts cannot be taken", "Raise --tries") for one in k if not 1 <= one <= tries]
    if tries > 1 and not sampling.temperature:
        wrong.append(Mistake("temperature", "the likeliest text is the same at every try", "Set --temperature, such as 0.8"))
    if not k or tries < 1:
        wrong.append(Mistake("tries", "one at least", ""))
    if wrong:
        raise Mistake.together(wrong)


def _task(artifact: Artifact, task: str | None) -> str:
    there = [name for name, one in artifact.recipe.tasks.items() if one.writes and one.prompts is not None]
    if task is None and len(there) == 1:
        return there[0]
    if task not in there:
        wrong = "which task writes the code is not said" if task is None else f"{task!r} writes no texts"
        raise Mistake("task", wrong, did_you_mean(task, there) if there else "Train one with a task of kind: generate and a prompt")
    return task


def _texts(table: Table, column: str) -> list[str]:
    if column not in table.columns:
        raise Mistake(table.name, f"no column {column!r}", did_you_mean(column, table.columns))
    return [cells.text(value) for value in table.take(column, np.arange(len(table)))]


def _text(answer: dict[str, Any], task: str) -> str:
    """What was written; of a row that could not be read nothing, so that its tests fail."""
    return str(answer[task]["value"]) if task in answer and isinstance(answer[task], dict) else ""
