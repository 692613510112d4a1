"""Transformer-XL in the same loop: as any language model without a memory, and with one over texts that are read piece by piece, in order."""

import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import checkpoints
from omnitune import Artifact, Mistake, Sampling, fit, generate, load
from omnitune.data.prepared import Prepared, prepare
from omnitune.evaluation.answers import answer
from omnitune.evaluation.validate import Validate
from omnitune.recipe import Recipe, check, read
from omnitune.training import auto, checkpoint
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen
from omnitune.training.step import Step

WORDS = ["soft", "tight", "lovely", "red", "blue", "warm", "cheap", "thin", "small", "large", "naïve", "größer"]
TASKS = {"language": {"kind": "generate", "of": "text"}}
XL = {"kind": "transformer_xl", "depth": 2, "width": 32, "heads": 2, "segment": 16, "memory": 16, "eval_memory": 64, "vocabulary": 300}


def texts(n: int = 160) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{"text": f"item {i} is {' and '.join(rng.choice(WORDS, 1 + i % 4))}.", "mood": "ab"[i % 2]} for i in range(n)]


def recipe(rows: list[dict[str, Any]], text: dict[str, Any], tasks: Any = TASKS, **train: Any) -> Recipe:
    settings = {"epochs": 6, "batch": 8, "lr": 3e-3} | train
    return read({"data": {"from": rows}, "inputs": {"text": {"kind": "text", "backbone": XL} | text}, "tasks": tasks, "train": settings})


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Trained on texts of a segment at most, a row each, so without a memory."""
    return fit(recipe(texts(), {}), tmp_path_factory.mktemp("xl") / "short")


def speaking(made: Artifact) -> tuple[Any, Any]:
    folder = made.path / "inputs" / "text_"
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def greedy(made: Artifact, prompt: str, tokens: int) -> str:
    """By the whole text anew for each token, with the model that transformers loads."""
    model, tokenizer = speaking(made)
    ids = tokenizer(prompt).input_ids[:-1]
    start = len(ids)
    for _ in range(tokens):
        ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    written: str = tokenizer.decode(ids[start:], skip_special_tokens=True)
    return written


def test_without_pieces_it_learns_as_any_language_model(short: Artifact) -> None:
    metrics = short.report.tasks["language"]["metrics"]["models"]
    assert set(metrics) == {"constant", "before", "after"}, "without a memory there is nothing to be without"
    assert metrics["after"]["bits_per_byte"]["value"] < metrics["constant"]["bits_per_byte"]["value"] < metrics["before"]["bits_per_byte"]["value"]


def test_transformers_loads_it_and_measures_the_same(short: Artifact) -> None:
    model, tokenizer = speaking(short)
    assert (model.config.context, model.config.memory, model.config.eval_memory) == (16, 16, 64)
    rows = read_test_rows(short)
    nats = bytes_ = 0.0
    for text in rows:
        ids = tokenizer(text, return_tensors="pt").input_ids
        cut = ids.shape[1] > 16
        ids = ids[:, :15] if cut else ids
        with torch.no_grad():
            nats += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
        bytes_ += len((tokenizer.decode(ids[0], skip_special_tokens=True) if cut else text).encode())
    assert short.report.value("language", "bits_per_byte") == pytest.approx(nats / bytes_ / math.log(2), rel=1e-4)


def read_test_rows(made: Artifact) -> list[str]:
    rows = texts()
    prepared = prepare(made.recipe.replace(data=made.recipe.data.replace(source=rows)))
    return [rows[row]["text"] for row in prepared.parts["test"].tolist()]


@pytest.mark.parametrize("prompt", ["item 7 is", "", "item 7 is soft and tight and lovely. " * 3])
def test_it_writes_through_its_memory_what_the_whole_text_gives(short: Artifact, prompt: str) -> None:
    assert generate(short, prompt, Sampling(max_new_tokens=12, temperature=0)) == [greedy(short, prompt, 12)]


def test_it_writes_on_beyond_its_segment_and_memory(short: Artifact) -> None:
    long = generate(short, "item", Sampling(max_new_tokens=100, temperature=1, seed=3, repetition_penalty=1.01))
    assert len(long) == 1
    together = generate(short, ["item 7 is", "", "item 7 is soft and tight and lovely. " * 3], Sampling(max_new_tokens=6, temperature=0))
    assert together == [
        generate(short, prompt, Sampling(max_new_tokens=6, temperature=0))[0]
        for prompt in ["item 7 is", "", "item 7 is soft and tight and lovely. " * 3]
    ]


def test_the_other_ways_to_choose_a_token(short: Artifact) -> None:
    drawn = [generate(short, "item", Sampling(max_new_tokens=12, top_k=20, top_p=0.9, min_p=0.01, seed=seed))[0] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    said: list[str] = []
    assert generate(short, "item", Sampling(max_new_tokens=12, seed=1, top_k=20, top_p=0.9, min_p=0.01), said.append) == [drawn[0]] == ["".join(said)]
    beams = generate(short, "item 7 is", Sampling(max_new_tokens=8, temperature=0, num_beams=3, stop_strings=("and",), repetition_penalty=1.1))
    assert len(beams) == 1 and beams[0].count("and") <= 1


@pytest.mark.parametrize("tuning", [{"kind": "lora", "rank": 2}, {"kind": "probe"}, {"kind": "freeze", "blocks": 1}])
def test_a_run_is_the_backbone_of_the_next(short: Artifact, tuning: Any, tmp_path: Path) -> None:
    tasks = {"mood": {"kind": "classify", "target": "mood"}} | ({} if tuning["kind"] == "probe" else TASKS)
    values = recipe(texts(), {"backbone": str(short.path)}, tasks, epochs=1).to_dict() | {"data": {"from": texts()}, "tuning": tuning}
    made = fit(read(values), tmp_path / "next")
    if "language" in tasks:
        before = made.report.tasks["language"]["metrics"]["models"]["before"]["bits_per_byte"]["value"]
        assert before == pytest.approx(short.report.value("language", "bits_per_byte"), rel=1e-4)
        assert len(generate(load(tmp_path / "next"), "item", Sampling(max_new_tokens=4))) == 1
    assert set(made.predict([{"text": "item 9 is red."}])[0]) == {"mood"}


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"heads": 5}, "5 heads do not divide the width 32"),
        ({"width": 33, "heads": 3}, "width 33 is odd"),
        ({"segment": 3}, "segment"),
        ({"memory": -1}, "memory"),
    ],
)
def test_sizes_that_cannot_be_are_refused(settings: Any, wrong: str) -> None:
    with pytest.raises(Mistake, match=wrong):
        check(recipe(texts(), {"backbone": XL | settings}))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(t, other[name]) for name, t in one.items())


def test_without_any_memory_it_writes_as_far_as_its_segment(tmp_path: Path) -> None:
    backbone = {name: value for name, value in XL.items() if name != "eval_memory"} | {"memory": 0}
    made = fit(recipe(texts(), {"backbone": backbone}, epochs=1), tmp_path / "run")
    assert generate(made, "item 7", Sampling(max_new_tokens=99, temperature=0)) == [
        greedy(made, "item 7", 16 - len(speaking(made)[1]("item 7").input_ids) + 1)
    ]
    with pytest.raises(Mistake, match="leave no room in a context of 16"):
        generate(made, "word " * 60)


# Texts in pieces, in order


def documents(n: int = 60) -> list[dict[str, Any]]:
    """Each has a word of its own, which comes again and again, further apart than a segment: a memory knows it."""
    rng = np.random.default_rng(1)
    names = ["".join(rng.choice(list("abcdefghijklmnop"), 6)) for _ in range(n)]
    rows = [
        {
            "text": f"the name is {name}. "
            + " ".join(f"item {i} is {' and '.join(rng.choice(WORDS, 2))} for {name}." for i in range(1 + 3 * (row % 5)))
        }
        for row, name in enumerate(names)
    ]
    rows[7]["text"] = None
    rows[9]["text"] = "."
    return rows


def in_pieces(**train: Any) -> Recipe:
    return recipe(documents(), {"backbone": XL, "pieces": True}, **train)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(in_pieces(epochs=8), tmp_path_factory.mktemp("xl") / "long")


def test_a_memory_helps_and_the_report_says_how_much(long: Artifact) -> None:
    task = long.report.tasks["language"]
    models = task["metrics"]["models"]
    assert list(models) == ["constant", "before", "no memory", "after"]
    assert models["after"]["bits_per_byte"]["value"] < models["no memory"]["bits_per_byte"]["value"] < models["before"]["bits_per_byte"]["value"]
    assert task["metrics"]["differences"]["no memory"]["bits_per_byte"]["high"] < 0
    assert "no memory" in (long.path / "report.md").read_text()
    assert long.report.cost["texts of text"].startswith("in order, each piece told of up to 16 tokens before it in training, 64 after")


def started(**train: Any) -> tuple[Model, Prepared]:
    """As `fit` starts."""
    made = in_pieces(**train)
    prepared = prepare(made)
    settings, _ = auto.resolve(made, len(prepared.answered), torch.device("cpu"))
    prepared = replace(prepared, recipe=made.replace(train=settings))
    torch.manual_seed(0)
    return Model(prepared.recipe, prepared.schema), prepared


def looped(model: Model, prepared: Prepared, validate: Any = None) -> Loop:
    train = prepared.recipe.train
    return Loop(model, prepared.batches("train", int(train.batch), train.seed), train, {"language": 1.0}, validate)


def weights(model: Model) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.learning().items()}


@pytest.mark.parametrize("at", [3, 17])
def test_a_killed_run_goes_on_bit_for_bit(at: int, tmp_path: Path) -> None:
    def stop(step: Step) -> None:
        if step.step == at:
            signal.raise_signal(signal.SIGINT)

    whole = fit(in_pieces(epochs=2), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(in_pieces(epochs=2), tmp_path / "cut", watch=stop)
    saved, facts = checkpoint.load(tmp_path / "cut" / "resume.safetensors")
    assert facts["loop"]["progress"]["batch"] and {"recall.text_.pieces", "recall.text_.held", "recall.text_.layer.0"} <= saved.keys()
    after = fit(in_pieces(epochs=2), tmp_path / "cut", resume=True)
    assert same(whole.model.state_dict(), after.model.state_dict())
    assert whole.report.value("language", "bits_per_byte") == after.report.value("language", "bits_per_byte")


def test_what_a_run_remembers_is_part_of_its_state() -> None:
    """Without it the run would go on otherwise."""
    ends = []
    for keep in (True, False):
        model, prepared = started(epochs=1)
        steps = iter(looped(model, prepared))
        for _ in range(5):
            step = next(steps)
        tensors, facts = step.state()
        other = looped(*started(epochs=1))
        other.restore({name: t.clone() for name, t in tensors.items() if keep or not name.startswith("recall.")}, facts)
        list(other)
        list(steps)
        ends.append(same(weights(model), weights(other.model)))
    assert ends == [True, False]


def test_validation_leaves_what_training_remembers_alone() -> None:
    found = []
    for every in (None, 0.05):
        model, prepared = started(epochs=1, **({} if every is None else {"validate_every": every}))
        validate = Validate(model, prepared)
        list(looped(model, prepared, validate if every else None))
        found.append(weights(model))
    assert same(*found)


def test_parts_of_a_batch_keep_the_memories_of_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = [looped(*started(epochs=1, optimizer="sgd", micro_batch=micro)) for micro in (8, 3)]
    for one, other in zip(*loops, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-5)
    for name, value in weights(loops[0].model).items():
        torch.testing.assert_close(weights(loops[1].model)[name], value, rtol=1e-5, atol=1e-6)

    model, prepared = started(epochs=1, optimizer="sgd")
    learn, calls = model.losses, []

    def scarce(question: Any, *read: Any) -> Any:
        """The second part of a batch of 4 does not fit: half of the batch was read and remembered by then."""
        calls.append(len(question.rows))
        found = learn(question, *read)
        if calls[-2:] == [4, 4]:
            raise torch.OutOfMemoryError("memory ended")
        return found

    prepared = replace(prepared, recipe=prepared.recipe.replace(train=prepared.recipe.train.replace(micro_batch=4)))
    monkeypatch.setattr(model, "losses", scarce)
    loop = looped(model, prepared)
    list(loop)
    assert loop.progress.micro_batch == 2
    for name, value in weights(loops[0].model).items():
        torch.testing.assert_close(weights(model)[name], value, rtol=1e-5, atol=1e-6)


def test_what_is_measured_does_not_depend_on_how_many_texts_are_read_side_by_side(long: Artifact) -> None:
    prepared = prepare(long.recipe.replace(data=long.recipe.data.replace(source=documents())))
    first, *others = (answer(long.model, prepared.batches("test", size), "float32")["language"] for size in (1, 3, 8))
    assert len(first.rows) > 20
    for other in others:
        assert (other.rows == first.rows).all() and (other.y == first.y).all()
        np.testing.assert_allclose(other.p[:, 0], first.p[:, 0], rtol=1e-4, atol=1e-4)
    assert not long.model.recall["text"].state()


@torch.no_grad()
def test_transformers_measures_the_same_with_the_memory(long: Artifact) -> None:
    model, tokenizer = speaking(long)
    prepared = prepare(long.recipe.replace(data=long.recipe.data.replace(source=documents())))
    nats = bytes_ = 0.0
    for row in prepared.sources()["test"].tolist():
        text = documents()[row]["text"]
        ids, mems = tokenizer(text, return_tensors="pt").input_ids, None
        for here, behind in zip(ids[:, :-1].split(16, 1), ids[:, 1:].split(16, 1), strict=True):
            out = model(here, mems, targets=behind)
            nats, mems = nats + float(out.losses.sum()), out.mems
        assert mems.size <= 64
        bytes_ += len(text.encode())
    assert long.report.value("language", "bits_per_byte") == pytest.approx(nats / bytes_ / math.log(2), rel=1e-4)


def test_it_writes_on_from_a_long_prompt_by_what_it_remembers(long: Artifact) -> None:
    prompt = " ".join(f"item {i} is red for abcdef." for i in range(9)) + " the"
    model, tokenizer = speaking(long)
    ids = tokenizer(prompt, return_tensors="pt").input_ids[:, :-1]
    mems, written = None, list[int]()
    assert ids.shape[1] > 80, "more than is remembered"
    for _ in range(10):
        for segment in ids.split(16, 1):
            with torch.no_grad():
                out = model(segment, mems)
            mems = out.mems
        ids = out.logits[:, -1:].argmax(-1)
        written.append(int(ids))
        if written[-1] == tokenizer.eos_token_id:
            break
    assert generate(long, prompt, Sampling(max_new_tokens=10, temperature=0)) == [tokenizer.decode(written, skip_special_tokens=True)]


def test_the_next_run_goes_on_with_its_memory(long: Artifact, tmp_path: Path) -> None:
    values = in_pieces(epochs=1).to_dict() | {"data": {"from": documents()}, "tuning": {"kind": "lora", "rank": 2}}
    values["inputs"]["text"]["backbone"] = str(long.path)
    made = fit(read(values), tmp_path / "next")
    metrics = made.report.tasks["language"]["metrics"]["models"]
    assert metrics["before"]["bits_per_byte"]["value"] == pytest.approx(long.report.value("language", "bits_per_byte"), rel=1e-4)
    assert metrics["after"]["bits_per_byte"]["value"] < metrics["no memory"]["bits_per_byte"]["value"]


def test_more_streams_than_pieces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"train\.batch: .* pieces of texts cannot be read in 5,000 streams"):
        fit(in_pieces(batch=5000), tmp_path / "run")


def test_a_segment_longer_than_what_is_read_at_once_is_refused() -> None:
    with pytest.raises(Mistake, match=r"inputs\.text\.max_tokens: 12 tokens are less than a segment of 16. Set inputs\.text\.max_tokens: 16"):
        check(recipe(documents(), {"max_tokens": 12, "pieces": True}))


@pytest.mark.parametrize("tuning", ["probe", "full"])
def test_a_document_is_classified_by_its_first_piece(long: Artifact, tuning: str, tmp_path: Path) -> None:
    rows = [row | {"mood": "ab"[i % 2]} for i, row in enumerate(documents())]
    tasks = {"mood": {"kind": "classify", "target": "mood"}} | (TASKS if tuning == "full" else {})
    values = recipe(rows, {"backbone": str(long.path), "pieces": True}, tasks, epochs=1).to_dict() | {"data": {"from": rows}, "tuning": tuning}
    made = fit(read(values), tmp_path / "next")
    assert [name for name, task in made.report.tasks.items() if "no memory" in task["metrics"]["models"]] == [*tasks][1:]
    assert made.report.cost["texts of text"].startswith("in order" if tuning == "full" else "flat rows")
    assert set(made.predict([{"text": rows[0]["text"]}])[0]) == {"mood"}


def test_what_is_told_of_other_pieces_is_not_kept_on_disk(long: Artifact) -> None:
    rows = [row | {"also": "red or blue", "mood": "ab"[i % 2]} for i, row in enumerate(documents())]
    tasks = {"mood": {"kind": "classify", "target": "mood"}, "words": {"kind": "masked_text", "of": "also"}}
    values = recipe(rows, {"backbone": str(long.path), "pieces": True}, epochs=1).to_dict() | {
        "data": {"from": rows},
        "tasks": tasks,
        "tuning": "probe",
    }
    values["inputs"]["also"] = {"kind": "text", "backbone": str(checkpoints.tiny_bert())}
    prepared = prepare(read(values))
    settings, _ = auto.resolve(prepared.recipe, len(prepared.answered), torch.device("cpu"))
    prepared = replace(prepared, recipe=prepared.recipe.replace(train=settings))
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)
    assert Frozen(model, prepared).refusals["text"] == "what it makes of a piece depends on those before"


def test_where_a_piece_stands_is_no_part_of_what_it_says() -> None:
    """Or what is kept of it would be lost when a table grows."""
    prepared = prepare(in_pieces())
    row = next(row for row in prepared.table.take("text", np.arange(len(prepared.table))) if row is not None and row.place[1] >= 0)
    moved = replace(row, place=(7, 6, -1))
    assert str(row) == str(moved) and row == moved and row.place != moved.place
