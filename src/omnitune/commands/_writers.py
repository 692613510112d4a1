"""Writers: language models that write texts from rows, behind a prompt or in the place of hidden words."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.backbones.pretrained import Pretrained
from omnitune.commands._sources import Sources, normal
from omnitune.data.columns import Column
from omnitune.data.identity import media
from omnitune.data.prepared import prepare
from omnitune.data.schema import Schema, learn
from omnitune.data.table import Rows
from omnitune.errors import Mistake, did_you_mean
from omnitune.modalities.text import Text
from omnitune.nn.language import LanguageHead
from omnitune.nn.template import Template
from omnitune.nn.writing import Sampling
from omnitune.recipe import Data, Recipe, Train
from omnitune.tasks.generate import Generate
from omnitune.tasks.masked_text import MaskedText
from omnitune.training.device import best_device, precision
from omnitune.training.filling import Filling
from omnitune.training.model import Model
from omnitune.training.writing import Writing

TOKENS = 512
"""That a checkpoint reads and writes of a prompt and its answer at most."""
INPUT = "writer"


class Texts(Protocol):
    """What writes a text from each of some rows."""

    doubt: str
    """What could not be looked at: whether texts that are held out taught it."""

    def __call__(self, rows: Rows, sampling: Sampling) -> list[str]:
        """The texts, in the order of the rows."""
        ...


class Prompting:
    """Writes behind a prompt that is filled with a row.

    Args:
        writer: a run with a task that writes by a prompt, or a checkpoint of a language model: the folder of a run, a directory, a hub name or
            `sample:NAME`.
        prompt: instead of the run's own; what a checkpoint is asked, as a user's message where it has a chat template.
        sources: the rows.
        named: whether the prompt must name the text itself (a paraphrase), or must not (from the other columns alone).

    Raises:
        Mistake: there is no prompt, it names a column that is not there, or the text where it must not or not where it must; the writer's run writes
            another column of the table; or texts that are held out taught it.
    """

    def __init__(self, writer: str | Path | Artifact, prompt: str | None, sources: Sources, named: bool) -> None:
        run = _run(writer)
        task = None if run is None else next((name for name, one in run.recipe.tasks.items() if isinstance(one, Generate) and one.writes), None)
        if prompt is not None and (wrong := Template(prompt).problem()):
            raise Mistake("--prompt", wrong)
        if run is not None and task is not None:
            model, recipe, schema, name = run.model, _asked(run.recipe, task, prompt), run.schema, task
            _same_text(run, task, prompt, sources, named)
        else:
            model, recipe, schema, name = _of_checkpoint(writer, prompt, sources)
        self.doubt = _doubt(run, writer, sources)
        self.sources, self.writing = sources, Writing(model, recipe, schema, name)
        self.files = media(recipe)
        self.columns = {*recipe.read_by(name).values(), *(recipe.column(of) for of in recipe.shown(name))}
        _named(self.columns, sources, named)

    def __call__(self, rows: Rows, sampling: Sampling) -> list[str]:
        """See `Texts`."""
        return [one.text.strip() for one in self.writing(self.sources.values(rows, self.columns, self.files), sampling)]


class Masking:
    """Writes the row's own text with other words in some places.

    Args:
        writer: a run with a task `masked_text`, or a checkpoint that has the layers by which hidden words are said.
        share: of words that are hidden.
        sources: the rows.

    Raises:
        Mistake: it says no hidden words, or texts that are held out taught it.
    """

    def __init__(self, writer: str | Path | Artifact, share: float, sources: Sources) -> None:
        if not 0 < share < 1:
            raise Mistake("--share", f"{share} is no share of words", "Give a number between 0 and 1")
        run = _run(writer)
        name = None if run is None else next((name for name, one in run.recipe.tasks.items() if isinstance(one, MaskedText)), None)
        if run is not None and name is not None:
            self.filling = Filling(run.model, run.recipe, run.schema, name, share)
        else:
            model, recipe, schema = _saying_hidden_words(writer, sources)
            self.filling = Filling(model, recipe, schema, INPUT, share)
        self.doubt = _doubt(run, writer, sources)
        self.sources = sources

    def __call__(self, rows: Rows, sampling: Sampling) -> list[str]:
        """See `Texts`."""
        return self.filling(Column(self.sources.table, self.sources.column, rows)[:], sampling)


def _run(writer: str | Path | Artifact) -> Artifact | None:
    """The run that `writer` is or names; None where it names a checkpoint."""
    if isinstance(writer, Artifact):
        return writer
    return artifacts.load(writer) if (Path(writer).expanduser() / "recipe.yaml").exists() else None


def _asked(recipe: Recipe, task: str, prompt: str | None) -> Recipe:
    return recipe if prompt is None else recipe.replace(tasks=dict(recipe.tasks) | {task: recipe.tasks[task].replace(prompt=prompt)})


def _of_checkpoint(writer: str | Path | Artifact, prompt: str | None, sources: Sources) -> tuple[Model, Recipe, Schema, str]:
    """A model that writes behind `prompt` without having been trained to; answers are as long as the texts of the training rows."""
    if prompt is None:
        raise Mistake("--prompt", f"{_named_as(writer)} has no prompt of its own", 'Give one, such as --prompt "Say in other words: {text}"')
    backbone = Pretrained(_named_as(writer))
    chat = bool(backbone.tokenizer().chat_template)
    task = Generate(INPUT, prompt, sources.column, chat=chat)
    return *_untrained(backbone, task, INPUT, sources), INPUT


def _saying_hidden_words(writer: str | Path | Artifact, sources: Sources) -> tuple[Model, Recipe, Schema]:
    made = _untrained(Pretrained(_named_as(writer)), MaskedText(INPUT), sources.column, sources)
    head = made[0].head(INPUT)
    if not (isinstance(head, LanguageHead) and head.words and head.words.trained):
        fix = "Choose one that was saved with them, or a run with a task of kind: masked_text"
        raise Mistake(_named_as(writer), "comes without the layers that say hidden words", fix)
    return made


def _untrained(backbone: Pretrained, task: Generate | MaskedText, column: str, sources: Sources) -> tuple[Model, Recipe, Schema]:
    """A checkpoint that is asked as a task asks, without training."""
    text = Text(backbone, max_tokens=TOKENS, column=column)
    train = Train(precision=precision(best_device()))
    recipe = Recipe(data=Data(sources.table), inputs={INPUT: text}, tasks={INPUT: task}, train=train)
    schema = learn(recipe, sources.table, {"train": sources.rows})
    return Model(recipe, schema).to(best_device()).eval().requires_grad_(False), recipe, schema


def _named_as(writer: str | Path | Artifact) -> str:
    return str(writer.path if isinstance(writer, Artifact) else writer)


def _named(columns: set[str], sources: Sources, text: bool) -> None:
    """Whether the prompt names columns that are there, and the text where it must."""
    if absent := sorted(columns - set(sources.table.columns)):
        known = sources.table.columns
        raise Mistake.together(Mistake("--prompt", f"{sources.table.name} has no column {c!r}", did_you_mean(c, known)) for c in absent)
    if text and sources.column not in columns:
        raise Mistake("--prompt", f"does not name {sources.column!r}, which is to be paraphrased", "Name it in braces, or --way back_generate")
    if not text and sources.column in columns:
        raise Mistake("--prompt", f"names {sources.column!r}, which is to be written from the other columns", "Leave it out, or --way paraphrase")


def _same_text(run: Artifact, task: str, prompt: str | None, sources: Sources, named: bool) -> None:
    """Raises `Mistake` where a writer learned to write another column of the same table."""
    target = run.recipe.tasks[task].target
    if prompt is None and not named and target != sources.column and target in sources.table.columns:
        raise Mistake(str(run.path), f"writes {target!r}, and {sources.column!r} is to be written", "Train it to write that")


def _doubt(run: Artifact | None, writer: str | Path | Artifact, sources: Sources) -> str:
    """Why it is not known whether texts of validation and test rows taught the writer. Raises `Mistake` where they did."""
    if run is None:
        return f"What {Path(_named_as(writer)).name} learned from is not known, so texts of validation and test rows may be among it"
    try:
        with closing(prepare(run.recipe)) as prepared:
            rows, texts = prepared.sources()["train"], set[str]()
            for column in _texts_of(run.recipe):
                texts |= {normal(value) for value in Column(prepared.source, column, rows) if isinstance(value, str)}
    except Mistake:
        return f"The rows that taught {run.path.name} are not at hand, so texts of validation and test rows may be among them"
    if both := len(texts & sources.held):
        fix = f"Train it on the same table with data.by: [{sources.column}] and the same split, so that both hold out the same rows"
        raise Mistake(str(run.path), f"{both:,} texts of validation and test rows taught it", fix)
    return ""


def _texts_of(recipe: Recipe) -> Sequence[str]:
    """Columns whose texts a writer learned."""
    named = [column for name in recipe.tasks for column in (*recipe.answers(name).values(), *recipe.read_by(name).values())]
    return list(dict.fromkeys([*named, *(recipe.column(name) for name in recipe.inputs if name != recipe.unread)]))
