"""augment: rows like the training rows of a run, written by a language model and filtered by the run, for training alone."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.commands._sift import REASONS, sift
from omnitune.commands._sources import Sources
from omnitune.commands._synthetic_file import new_file, write
from omnitune.commands._writers import Masking, Prompting, Texts
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn.writing import Sampling

Way = Literal["back_generate", "paraphrase", "mask_fill"]
SHARE = 0.3
DRAWN = Sampling(max_new_tokens=100_000, temperature=1.0, top_p=0.95)
"""Less likely words are left out, which a filter would find in many texts."""


@dataclass(frozen=True)
class Augmentation:
    """What was written.

    Args:
        file: where the rows are.
        way: how.
        sources: training rows that texts were written from.
        written: texts.
        kept: of them.
        dropped: the others by reason, see `REASONS`.
        classes: kept rows by task and class.
    """

    file: Path
    way: Way
    sources: int
    written: int
    kept: int
    dropped: dict[str, int]
    classes: dict[str, dict[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"file": str(self.file)}

    def __str__(self) -> str:
        lines = [f"{self.written:,} texts from {self.sources:,} training rows ({self.way}): {self.kept:,} kept in {self.file}"]
        lines += [f"  {count:,} {reason}: {REASONS[reason]}" for reason, count in self.dropped.items() if count]
        for task, counts in self.classes.items():
            lines.append(f"  kept, by {task}: {', '.join(f'{name} {count:,}' for name, count in counts.items())}")
        return "\n".join(lines)


def augment(
    run: str | Path | Artifact,
    writer: str | Path | Artifact,
    out: str | Path,
    way: Way,
    *,
    rows: int | None = None,
    keep: float = 0.5,
    prompt: str | None = None,
    share: float | None = None,
    of: str | None = None,
    sampling: Sampling | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Augmentation:
    """Writes rows like the training rows of `run`, for `data.synthetic` of a recipe. Each has the answers and other columns of the row that it was
    written from, and a new text. It is kept where the run takes the row's class of every task of classes as likely as `keep` at least, and where its
    text is none of the table or among those kept before. Nothing is written from validation and test rows.

    Args:
        run: a finished run with a text input and a task of classes, on a file; or its folder. It is the filter.
        writer: a run with a task `generate` or `masked_text`, or a checkpoint.
        out: a new file, `.parquet`, or `.jsonl`, which does not say how it was made.
        way: `back_generate`: from the other columns, by the writer's prompt (Kumar et al. 2020, https://arxiv.org/abs/2003.02245); `paraphrase`: by
            a prompt that names the text; `mask_fill`: the text with some words hidden and filled.
        rows: texts to write; one for each training row where it is left out.
        keep: probability, from 0 to 1.
        prompt: what the writer is asked, columns in braces; needed where it has none of its own. Not of `mask_fill`.
        share: of words that `mask_fill` hides, 0.3 where it is left out.
        of: the text input, where the run has several.
        sampling: how words are drawn; by temperature 1 among the likeliest that hold 95 % where it is left out.
        tell: is told what is not looked at.

    Raises:
        Mistake: one of them cannot be used, texts that are held out taught the writer, no row is kept, or the file is there already.
    """
    path, sampling = new_file(Path(out)), sampling or DRAWN
    _meant(way, rows, keep, prompt, share)
    artifact = run if isinstance(run, Artifact) else artifacts.load(run)
    sources = Sources(artifact, of)
    texts = _opened(way, writer, prompt, share, sources)
    for line in (*_not_looked_at(sources), *filter(None, [texts.doubt])):
        tell(line)
    numbers = sources.drawn(rows or len(sources.rows), sampling.seed)
    made = texts(numbers, sampling)
    reasons, chances = sift(sources, numbers, made, keep)
    kept = np.array([place for place, reason in enumerate(reasons) if reason is None], np.int64)
    counts = Counter(reason for reason in reasons if reason)
    dropped = {reason: counts[reason] for reason in REASONS}
    if not len(kept):
        raise Mistake(str(path), f"none of {len(made):,} texts is kept: {_shown(dropped)}", "Lower --keep, or choose another writer or prompt")
    classes = {task: dict(sorted(Counter(sources.answer(task, numbers[kept])).items())) for task in sources.tasks}
    found = Augmentation(path, way, len(np.unique(numbers)), len(made), len(kept), dropped, classes)
    about = _about(artifact, writer, found, {"keep": keep, "prompt": prompt, "doubt": texts.doubt}, sampling)
    write(path, sources.filled(numbers[kept], [made[i] for i in kept]), numbers[kept], chances[kept], about)
    return found


def _opened(way: Way, writer: str | Path | Artifact, prompt: str | None, share: float | None, sources: Sources) -> Texts:
    if way == "mask_fill":
        return Masking(writer, SHARE if share is None else share, sources)
    return Prompting(writer, prompt, sources, named=way == "paraphrase")


def _meant(way: Way, rows: int | None, keep: float, prompt: str | None, share: float | None) -> None:
    wrong = [Mistake("--way", f"there is no way {way!r}", did_you_mean(way, get_args(Way)))] if way not in get_args(Way) else []
    wrong += [Mistake("--rows", f"{rows} is no number of texts", "Give 1 or more")] if rows is not None and rows < 1 else []
    wrong += [] if 0 <= keep <= 1 else [Mistake("--keep", f"{keep} is no probability", "Give a number from 0 to 1")]
    wrong += [Mistake("--prompt", "mask_fill asks nothing", "Leave it out")] if prompt is not None and way == "mask_fill" else []
    wrong += [Mistake("--share", f"{way} hides no words", "Leave it out")] if share is not None and way != "mask_fill" else []
    if wrong:
        raise Mistake.together(wrong)


def _not_looked_at(sources: Sources) -> list[str]:
    """What a user must know that no filter sees."""
    others = [name for name, task in sources.recipe.tasks.items() if task.supervised and name not in sources.tasks]
    lines = [f"answers of {', '.join(others)} are copied from the source row; nothing checks that they fit the new text"] if others else []
    lines += [f"{sources.without:,} training rows have no text or no answer, and nothing is written from them"] if sources.without else []
    return lines


def _shown(dropped: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in dropped.items() if count)


def _about(artifact: Artifact, writer: str | Path | Artifact, found: Augmentation, asked: dict[str, Any], sampling: Sampling) -> dict[str, Any]:
    """What the file says of itself; its run is found again by it."""
    named = str(writer.path if isinstance(writer, Artifact) else writer)
    drawn = {"temperature": sampling.temperature, "seed": sampling.seed}
    counts = {"written": found.written, "kept": found.kept, "dropped": found.dropped}
    where = {"run": str(artifact.path.resolve()), "recipe": artifact.lineage["recipe"], "writer": named, "way": found.way}
    return where | asked | drawn | counts
