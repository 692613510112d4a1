"""One backbone for several inputs: the same weights, saved once, and one forward pass, whatever is kept of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune import artifact as artifacts
from omnitune.commands.fit import fit
from omnitune.component import find
from omnitune.data import store as cache
from omnitune.errors import Mistake
from omnitune.modalities import Modality
from omnitune.recipe import Recipe, read
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen
from runs import ready

BACKBONES = {"text": checkpoints.tiny_bert, "image": checkpoints.tiny_vit, "audio": checkpoints.SOUND["whisper"]}
TUNINGS = ["full", "probe", "{kind: freeze, blocks: 1}", "{kind: lora, rank: 2, blocks: 1}"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "kept")


def rows(kind: str, n: int = 24) -> list[dict[str, Any]]:
    """Two columns, `b` longer than `a` where it is text, with values missing in either."""
    values: list[Any] = find(Modality, kind)().example(2 * n, np.random.default_rng(0))  # type: ignore[type-abstract]
    a, b = values[:n], [f"{v} {v}" if kind == "text" else v for v in values[n:]]
    return [{"a": a[i] if i % 7 else None, "b": b[i] if i % 5 else None, "y": "xy"[i % 2]} for i in range(n)]


def recipe(kind: str, *overrides: str, **body: Any) -> Recipe:
    calm = {"augment": False} if kind == "image" else {}
    inputs = {"a": {"kind": kind, "backbone": str(BACKBONES[kind]())} | calm, "b": {"kind": kind, "shares": "a"} | calm | body}
    train = {"epochs": 2, "batch": 8, "optimizer": "sgd", "lr": 0.05, "head_lr": 0.05}
    values = {"data": {"from": rows(kind), "split": [0.7, 0.3, 0]}, "inputs": inputs, "tasks": {"y": {"kind": "classify", "target": "y"}}}
    return read(values | {"train": train}, overrides)


def trained(asked: Recipe) -> tuple[Model, Frozen]:
    model, prepared = ready(asked)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    train = prepared.recipe.train
    for _ in Loop(model, frozen.prepared.batches("train", int(train.batch), train.seed), train, {"y": 1.0}):
        pass
    frozen.close()
    return model, frozen


def passes(model: Model) -> list[int]:
    """How many rows or tokens each pass of the backbone read, as it runs from now on."""
    seen: list[int] = []
    model.backbones["a"].model.register_forward_hook(lambda *_: seen.append(1))
    return seen


@pytest.mark.parametrize("kind", BACKBONES)
def test_one_set_of_weights_and_one_pass(kind: str) -> None:
    model, prepared = ready(recipe(kind))
    model.eval()
    batch = prepared.batches("train", 8).question(prepared.parts["train"][:8]).asked["y"][0]
    apart = {name: model.tokens(name, batch) for name in ("a", "b")}
    seen = passes(model)
    streams = model(batch).streams
    lengths = {int(n) for name in ("a", "b") for n in batch.inputs[name]["length"]} - {0} if kind == "audio" else {1}
    assert len(seen) == len(lengths)  # clips of one length at a time
    assert list(model.backbones) == ["a"] and not [name for name, _ in model.named_parameters() if name.startswith("encoders.b")]
    for name, alone in apart.items():
        torch.testing.assert_close(streams[name].x_BLD, alone.only(batch.inputs[name]["present"]).x_BLD, rtol=1e-4, atol=1e-5)
        assert torch.equal(streams[name].mask_BL, alone.mask_BL)


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize(("kind", "fusion"), [("text", "attend"), ("image", "attend"), ("audio", "concat")])
def test_what_is_kept_changes_nothing(kind: str, fusion: str, tuning: str) -> None:
    asked = [f"fusion={fusion}", f"tuning={tuning}"]
    wanted, _ = trained(recipe(kind, *asked, "train.cache=0"))
    for _ in range(2):
        found, frozen = trained(recipe(kind, *asked))
        assert set(frozen.prefixes) == (set() if tuning == "full" else {"a", "b"})
        for name, weight in wanted.learning().items():
            torch.testing.assert_close(found.learning()[name], weight, rtol=1e-4, atol=1e-5)
    assert all(prefix.computed == 0 for prefix in frozen.prefixes.values())


def test_a_part_that_is_kept_is_gone_on_from_in_one_pass() -> None:
    asked = recipe("text", "tuning={kind: freeze, blocks: 1}")
    trained(asked)
    model, prepared = ready(asked)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    batches = frozen.prepared.batches("train", 8)
    seen = passes(model)
    for question in batches.epoch():
        model(question.asked["y"][0])
    assert len(seen) == len(batches)


def test_both_teach_it() -> None:
    model, prepared = ready(recipe("text"))
    batch = prepared.batches("train", 8).question(prepared.parts["train"][:8]).asked["y"][0]
    weight = model.backbones["a"].blocks[0].attention.output.dense.weight
    slopes = []
    for name in ("a", "b"):
        model(batch).streams[name].pooled().square().sum().backward()  # type: ignore[no-untyped-call]
        slopes.append(weight.grad.clone())
        weight.grad = None
    assert all(slope.abs().sum() > 0 for slope in slopes) and not torch.allclose(*slopes)


def test_padded_texts_of_unlike_length_are_read_apart() -> None:
    for overrides, number in ((("train.flat=false",), 2), ((), 1)):
        model, prepared = ready(recipe("text", *overrides))
        batch = prepared.batches("train", 8).question(prepared.parts["train"][:8]).asked["y"][0]
        seen = passes(model)
        model(batch)
        assert len(seen) == number


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_saved_once_and_predicting_the_same(tuning: str, tmp_path: Path) -> None:
    run = fit(recipe("text", f"tuning={tuning}", "data.split=[0.6, 0.2, 0.2]"), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "inputs").iterdir()] == ["a_"]
    loaded, asked = artifacts.load(tmp_path / "run"), rows("text")[:6]
    answers = loaded.predict(asked)
    assert answers == run.predict(asked)
    swapped = loaded.predict([row | {"a": row["b"], "b": row["a"]} for row in asked])
    assert swapped != answers  # one reader, yet two inputs
    assert loaded.recipe.inputs["b"].shares == "a"


def test_a_cut_off_run_goes_on(tmp_path: Path) -> None:
    asked = recipe("text", "tuning={kind: lora, rank: 2, blocks: 1}", "data.split=[0.6, 0.2, 0.2]", "train.epochs=3")
    whole = fit(asked, tmp_path / "whole")

    def stop(step: Any) -> None:
        if step.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(asked, tmp_path / "cut", watch=stop)
    again = fit(asked, tmp_path / "cut", resume=True)
    assert again.predict(rows("text")[:6]) == whole.predict(rows("text")[:6])


def test_words_are_learned_of_both_columns() -> None:
    bert = {"kind": "bert", "depth": 1, "width": 32, "heads": 2, "context": 32, "vocabulary": 200}
    table = [{"a": f"alpha {i}", "b": f"zebra {i}", "y": "xy"[i % 2]} for i in range(40)]
    inputs = {"a": {"kind": "text", "backbone": bert, "max_tokens": 16}, "b": {"kind": "text", "shares": "a", "max_tokens": 8}}
    tasks = {"y": {"kind": "classify", "target": "y"}, "words": {"kind": "masked_text", "of": "b"}}
    model, prepared = ready(read({"data": {"from": table, "split": [0.7, 0.3, 0]}, "inputs": inputs, "tasks": tasks}))
    facts = prepared.schema.inputs
    assert facts["a"]["tokenizer"] == facts["b"]["tokenizer"] and "alpha" in facts["b"]["tokenizer"] and "zebra" in facts["a"]["tokenizer"]
    assert (facts["a"]["max_tokens"], facts["b"]["max_tokens"]) == (16, 8)
    assert model.words("a") is not None
    losses = model.losses(prepared.batches("train", 8).question(prepared.parts["train"][:8]))
    assert all(loss.mean > 0 for loss in losses.values())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"shares": "c"}, "inputs.b.shares: 'c' is no text input with a backbone of its own. There are: a"),
        ({"shares": "b"}, "inputs.b.shares: 'b' is no text input"),
        ({"backbone": "sample:minilm-l6"}, "inputs.b.backbone: is not that of 'a', which it shares"),
        ({"pieces": True}, "inputs.b.shares: a text that is read in pieces shares no backbone"),
        ({"shares": "n"}, "inputs.b.shares: 'n' is no text input"),
    ],
)
def test_refused(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Mistake) as refused:
        recipe("text", **body)
    assert words in str(refused.value)


def test_only_kinds_with_a_backbone_share_one() -> None:
    inputs = {"n": "number", "m": {"kind": "number", "shares": "n"}}
    with pytest.raises(Mistake, match=r"inputs.m.shares: 'n' is no number input with a backbone of its own"):
        read({"data": rows("text"), "inputs": inputs, "tasks": {"y": {"kind": "classify", "target": "y"}}})
