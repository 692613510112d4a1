"""tag: which parts of a text are names, and of what? Which part of speech is each word?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.nn import values as cells
from omnitune.nn.template import Prompt, Template
from omnitune.tasks import Facts, SelfSupervised, Target

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch

Span = tuple[int, int]
Part = tuple[int, int, str]
"""Where it starts and stops, in characters or in words, and its label."""
OUTSIDE = "O"
CODED = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
"""A tag that says where in a part its word stands: begin, inside, end or last, single or unit."""
LABELS, STOPS = ("label", "entity_group", "entity", "tag", "type"), ("stop", "end")
"""What other tools call the label of a part, and where it stops."""
WORD = re.compile(r"\S+")


@component
class Tag(SelfSupervised):
    """The parts of a text that are names, and what of (Tjong Kim Sang and De Meulder 2003, https://aclanthology.org/W03-0419), or a label for every
    word. Predictions give each part's words, where it stands (in characters), its label and how likely it is.

    A text that is too long to be read at once is read in windows that overlap. The backbone best sees both sides of a word (BERT).

    Args:
        of: the text input whose parts are tagged.
        target: the column of tags, in one of two ways. Parts: a list of `{start, stop, label}` in characters from 0 (`end` for `stop`, `entity_group`
            or `tag` for `label`, as other tools write them), or of `[start, stop, label]`. Words: a list of one tag for each word that white space
            parts the text into, `O` for none; tags such as `B-person` and `I-person` join words, any others stand for one word each. A text may
            write either in JSON. An empty list says that nothing is tagged; a missing one is not known, and not learned from.
        overlap: tokens that windows share, which should be more than a part has. At most half of a window.
    """

    form: ClassVar[Literal["tags"]] = "tags"
    answers: ClassVar[bool] = True
    windows: ClassVar[bool] = True
    answer_tokens: ClassVar[int] = 1

    target: str
    overlap: Annotated[int, Field(ge=0)] = 64

    @property
    def prompts(self) -> Prompt:
        """Nothing is asked: windows hold the text alone."""
        return Prompt(Template(""))

    def columns(self) -> tuple[str, ...]:
        """The target."""
        return (self.target,)

    def lacks(self, value: Any) -> bool:
        """An empty list says that there is nothing to tag."""
        return value is None or cells.nan(value)

    def together(self) -> tuple[str, ...]:
        """Tags, beside the text."""
        return self.columns()

    def check(self, value: Any) -> str | None:
        """Anything may be; `odd` looks at tags beside their text."""
        return None

    def odd(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """Tags that their text has no place for."""
        try:
            self.parts(cells.text(row.get(self.of)), row.get(self.target))
        except (TypeError, ValueError) as error:
            return self.target, str(error)
        return None

    def located(self, texts: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> list[list[Span] | None]:
        """Of each text the parts that are tagged; None where that is not known."""
        if self.target not in columns:
            return [None] * len(texts)
        found = [self.parts(text, value) for text, value in zip(texts, columns[self.target], strict=True)]
        return [None if parts is None else [(start, stop) for start, stop, _ in parts] for parts in found]

    def parts(self, text: str, value: Any) -> list[Part] | None:
        """In characters and in their order; None where they are not known. Raises TypeError and ValueError for what does not fit the text."""
        given = read(value)
        if given is None:
            return None
        parts, of_words = given
        if of_words is not None:
            words = [match.span() for match in WORD.finditer(text)]
            if len(words) != of_words:
                raise ValueError(f"{of_words} tags, and {len(words)} words in the text, as white space parts it")
            return [(words[first][0], words[last - 1][1], label) for first, last, label in parts]
        for before, (start, stop, _) in zip([(0, 0, ""), *parts], parts, strict=False):
            if not before[1] <= start < stop <= len(text):
                overlap = 0 <= start < before[1]
                wrong = "overlaps the one before it" if overlap else f"does not lie in its text of {len(text)} characters"
                raise ValueError(f"the part from {start} to {stop} {wrong}")
        return parts

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """`classes`, the labels.

        Raises:
            Mistake: nothing is tagged.
        """
        known = filter(None, map(read, columns[self.target]))
        seen = Counter(label for parts, _ in known for _, _, label in parts)
        if not seen:
            raise Mistake(f"column {self.target!r}", "no training row has a part that is tagged", "Fill it, see `omnitune kinds tag`")
        return {"classes": sorted(seen)}

    def learn_from(self, facts: Facts) -> Facts:
        """`classes`, as `learn` found them. Raises `Mistake` where texts are to be read in pieces."""
        if facts["pieces"]:
            raise Mistake("tag", f"windows are read, and not pieces, as inputs.{self.of}.pieces has it", "Leave pieces out")
        return {"classes": facts["classes"]}

    def unseen(self, columns: Mapping[str, Sequence[Any]], facts: Facts) -> int:
        """Rows with a label that was not there in training."""
        return sum(bool(self._strange(value, facts["classes"])) for value in columns[self.target])

    def _strange(self, value: Any, classes: Sequence[str]) -> set[str]:
        given = read(value)
        return {label for _, _, label in given[0]}.difference(classes) if given else set()

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`tags` (B, N) and `gold` (B, G, 3), see `TagHead`; `y` (B, K + 2): parts of each label, tokens, and those outside; `weight` (B,): the
        tokens, 0 where tags are not known or have a label that training lacked."""
        import torch

        from omnitune.nn import tagged

        inputs, number = batch.inputs[self.of], {label: i for i, label in enumerate(facts["classes"])}
        given = [read(value) for value in columns[self.target]]
        known = [of is not None and not self._strange(value, facts["classes"]) for of, value in zip(given, columns[self.target], strict=True)]
        labels = [[number[label] for _, _, label in of[0]] if of and there else [] for of, there in zip(given, known, strict=True)]
        gold_BG3 = torch.full((*inputs["spans"].shape[:2], 3), -1)
        for i, row in enumerate(labels):
            gold_BG3[i, : len(row), :2], gold_BG3[i, : len(row), 2] = inputs["spans"][i, : len(row)], torch.tensor(row, dtype=torch.int64)
        asked_B1 = (torch.tensor(known) & inputs["present"])[:, None]
        tags_BN = tagged.tags(inputs["start"], inputs["stop"], gold_BG3).where(asked_B1, -1)
        counts_BK = torch.nn.functional.one_hot(gold_BG3[..., 2] + 1, len(number) + 1).sum(1)[:, 1:]
        tokens_B, outside_B = (tags_BN >= 0).sum(1), (tags_BN == tagged.OUTSIDE).sum(1)
        y = torch.cat([counts_BK, tokens_B[:, None], outside_B[:, None]], 1)
        return batch, {"tags": tags_BN, "gold": gold_BG3, "y": y, "weight": tokens_B.float()}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `TagHead` on the backbone's own tokens."""
        from omnitune.nn.tagged import TagHead

        return TagHead(self.of, backbones[self.of].width, len(facts["classes"]))

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`, a list of parts: `start`, `stop`, `label` and `probability`."""
        labels = facts["classes"]
        return [
            {"value": [{"start": int(a), "stop": int(b), "label": labels[int(k)], "probability": p} for a, b, k, p in row if a >= 0]}
            for row in output.tolist()
        ]

    def in_words(self, answer: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
        """Each part with its `text`."""
        return answer | {"value": [{"text": texts[0][part["start"] : part["stop"]]} | part for part in answer["value"]]}

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Of parts: right where their ends and their label are."""
        from omnitune.nn.tag_metrics import tag_metrics

        return tag_metrics(len(facts["classes"]))

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Nothing tagged but the first letter."""
        return {self.target: [[{"start": 0, "stop": 1, "label": "letter"}]] * n}


def read(value: Any) -> tuple[list[Part], int | None] | None:
    """The parts that a cell tells of, and of how many words it has tags, None where it counts characters; None where it is missing. Raises TypeError
    and ValueError for what tells of neither."""
    value = cells.as_list(value)
    if value is None or cells.nan(value):
        return None
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"expected a list of parts or of tags, got {type(value).__name__}")
    if all(isinstance(one, Mapping) or (isinstance(one, (list, tuple)) and len(one) == 3) for one in value):
        return sorted(map(_part, value)), None
    if any(isinstance(one, (Mapping, list, tuple)) or cells.missing(one) for one in value):
        raise TypeError("expected a list of {start, stop, label}, or of one tag for each word")
    tags = [cells.name(one) for one in value]
    return _of_words(tags), len(tags)


def _part(one: Any) -> Part:
    if not isinstance(one, Mapping):
        start, stop, label = one
    else:
        stop, label = (next((one[name] for name in names if name in one), None) for names in (STOPS, LABELS))
        start = one.get("start")
    if start is None or stop is None or cells.missing(label):
        raise ValueError("a part lacks its start, stop or label")
    return int(start), int(stop), cells.name(label)


def _of_words(tags: Sequence[str]) -> list[Part]:
    """Parts in words, from tags that may say where in a part they stand (IOB, IOBES, BILOU)."""
    found, open_label = list[Part](), None
    for i, tag in enumerate(tags):
        if tag == OUTSIDE:
            open_label = None
            continue
        coded = CODED.fullmatch(tag)
        where, label = (coded[1], coded[2]) if coded else ("S", tag)
        if where in "IEL" and open_label == label:
            first, _, _ = found.pop()
            found.append((first, i + 1, label))
        else:
            found.append((i, i + 1, label))
        open_label = label if where in "BI" else None
    return found
