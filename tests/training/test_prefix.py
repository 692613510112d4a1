"""The frozen part, computed once: training that reads it ends where training that computes it ends, and says when it cannot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune.commands.fit import fit
from omnitune.component import find
from omnitune.data import store as cache
from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import answer
from omnitune.modalities import Modality, _decode
from omnitune.nn.encoder import Encoder
from omnitune.recipe import Recipe, read
from omnitune.training import prefix
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen
from runs import ready

NAMES = [*checkpoints.TEXT, *checkpoints.PICTURE, *checkpoints.SOUND]
SOME = [next(iter(names)) for names in (checkpoints.TEXT, checkpoints.PICTURE, checkpoints.SOUND)]
CUT = [name for name in NAMES if name not in ("resnet", "convnext", "t5")]
"""Those with several blocks of one class; the first block of T5 makes the positions of all others."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "activations")
    return tmp_path / "activations"


def recipe(name: str, *overrides: str) -> Recipe:
    kind = "text" if name in checkpoints.TEXT else "audio" if name in checkpoints.SOUND else "image"
    values: list[Any] = find(Modality, kind)().example(24, np.random.default_rng(0))  # type: ignore[type-abstract]
    values[5] = None
    return read(
        {
            "data": {"from": [{"x": x, "y": "ab"[i % 2]} for i, x in enumerate(values)], "split": [0.7, 0.3, 0]},
            "inputs": {
                "x": {"kind": kind, "backbone": str((checkpoints.ALL | checkpoints.SOUND)[name]()), **({"augment": False} if kind == "image" else {})}
            },
            "tasks": {"y": {"kind": "classify", "target": "y"}},
            "tuning": "probe",
            "train": {"epochs": 3, "batch": 8, "optimizer": "sgd", "lr": 0.05, "head_lr": 0.05},  # Adam makes rounding errors large
        },
        overrides,
    )


def trained(asked: Recipe) -> tuple[dict[str, torch.Tensor], Frozen]:
    """The weights that learned, and what was kept."""
    model, prepared = ready(asked)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    for _ in loop(model, frozen.prepared):
        pass
    frozen.close()
    prepared.close()
    return {name: p.detach().clone() for name, p in model.learning().items()}, frozen


def loop(model: Model, prepared: Prepared) -> Loop:
    train = prepared.recipe.train
    return Loop(model, prepared.batches("train", int(train.batch), train.seed), train, {"y": 1.0})


def close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "fusion"), [*((name, "concat") for name in NAMES), *((name, of) for name in SOME for of in ("attend", "cross"))])
def test_heads_alone(name: str, fusion: str) -> None:
    wanted, off = trained(recipe(name, f"fusion={fusion}", "train.cache=0"))
    found, on = trained(recipe(name, f"fusion={fusion}"))
    again, later = trained(recipe(name, f"fusion={fusion}"))
    close(found, wanted)
    close(again, wanted)
    rows = len(on.prepared.parts["train"])
    assert (on.prefixes["x"].computed, on.prefixes["x"].read) == (rows, 2 * rows)
    assert (later.prefixes["x"].computed, later.prefixes["x"].read) == (0, 3 * rows)
    assert off.facts()["frozen part of x"] == "nothing kept: train.cache is 0"


@pytest.mark.parametrize("tuning", ["{kind: freeze, blocks: 1}", "{kind: lora, rank: 2, blocks: 1}"])
@pytest.mark.parametrize("name", CUT)
def test_upper_blocks(name: str, tuning: str) -> None:
    wanted, _ = trained(recipe(name, f"tuning={tuning}", "train.cache=0"))
    found, on = trained(recipe(name, f"tuning={tuning}"))
    again, later = trained(recipe(name, f"tuning={tuning}"))
    close(found, wanted)
    close(again, wanted)
    assert on.facts()["frozen part of x"].startswith("the first "), on.facts()
    assert later.prefixes["x"].computed == 0


def test_blocks_below_the_cut_do_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = recipe("bert", "tuning={kind: freeze, blocks: 1}")
    trained(asked)
    model, prepared = ready(asked)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    ran: list[int] = []
    for i, block in enumerate(model.backbones["x"].blocks):
        inner = next(iter(block.children()))
        inner.register_forward_hook(lambda *_, i=i: ran.append(i))
    for _ in loop(model, frozen.prepared):
        pass
    assert set(ran) == {len(model.backbones["x"].blocks) - 1}


VIEWS = ["inputs.x.augment=true", "inputs.x.views=2", "train.epochs=4"]


@pytest.mark.parametrize(("name", "tuning"), [("vit", "probe"), ("vit", "{kind: freeze, blocks: 1}"), ("convnext", "probe")])
def test_fixed_views_are_kept_each(name: str, tuning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [f"tuning={tuning}", *VIEWS]
    wanted, _ = trained(recipe(name, *asked, "train.cache=0"))
    found, on = trained(recipe(name, *asked))
    rows = len(on.prepared.parts["train"])
    close(found, wanted)
    assert (on.prefixes["x"].computed, on.prefixes["x"].read) == (2 * rows, 2 * rows)
    with monkeypatch.context() as patch:
        opened: list[int] = []
        right = _decode.decode
        patch.setattr(_decode, "decode", lambda *words: opened.append(1) or right(*words))
        again, later = trained(recipe(name, *asked))
    close(again, wanted)
    assert later.prefixes["x"].computed == 0 and len(opened) <= 2  # the two rows of the proof
    _, more = trained(recipe(name, *asked, "inputs.x.views=3"))
    assert more.prefixes["x"].computed == rows  # the third view of each; the first two are those of before


def test_validation_sees_pictures_as_they_are_beside_fixed_views() -> None:
    asked = recipe("vit", *VIEWS)
    model, prepared = ready(asked)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    for _ in loop(model, frozen.prepared):
        pass
    model.eval()
    for part in ("validation", "train"):
        wanted = answer(model, replace(prepared, known={}).batches(part, 8), "float32")["y"]
        for _ in range(2):  # computed, then read
            np.testing.assert_allclose(answer(model, frozen.prepared.batches(part, 8), "float32")["y"].p, wanted.p, rtol=1e-4, atol=1e-5)
    frozen.close()


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["tuning=full"], "its lowest block learns"),
        (["tuning={kind: lora, rank: 2}"], "its lowest block learns"),
        (["inputs.x.token_dropout=0.1"], "its values are augmented"),
        (["train.cache=1e-9"], "it would take 0.0 GiB"),
    ],
)
def test_it_says_why_nothing_is_kept(overrides: list[str], why: str, folder: Path) -> None:
    _, frozen = trained(recipe("bert", *overrides))
    assert frozen.facts()["frozen part of x"].startswith(f"nothing kept: {why}")
    assert not folder.exists()


def test_a_model_that_cannot_go_on_from_a_block_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Encoder.replay
    monkeypatch.setattr(Encoder, "replay", lambda self, hidden, mask: right(self, hidden + 1, mask))
    _, frozen = trained(recipe("bert", "tuning={kind: freeze, blocks: 1}"))
    assert frozen.facts()["frozen part of x"] == "nothing kept: BertModel does not give the same tokens when it goes on from a block"


def test_other_weights_and_other_values_are_other_rows(tmp_path: Path) -> None:
    trained(recipe("bert"))
    for change in ["inputs.x.max_tokens=5", f"inputs.x.backbone={checkpoints.ALL['distilbert']()}"]:
        _, frozen = trained(recipe("bert", change))
        assert frozen.prefixes["x"].computed > 0, change
    assert len(cache.kept()) == 3


def test_a_damaged_store_is_computed_again(folder: Path) -> None:
    wanted, _ = trained(recipe("bert"))
    for file in folder.glob("*/*.rows"):
        data = bytearray(file.read_bytes())
        data[7] ^= 1
        file.write_bytes(data)
    with pytest.warns(UserWarning, match="damaged"):
        found, frozen = trained(recipe("bert"))
    close(found, wanted)
    assert frozen.prefixes["x"].computed > 0
    assert trained(recipe("bert"))[1].prefixes["x"].computed == 0


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["probe", "{kind: freeze, blocks: 2}"])
def test_a_whole_run_of_minilm_is_the_same_bit_for_bit(tuning: str, tmp_path: Path) -> None:
    values = {
        "data": {"from": "sample:women-reviews#120", "split": [0.6, 0.2, 0.2]},
        "inputs": {"text": {"kind": "text", "backbone": "sample:minilm-l6", "max_tokens": 48}},
        "tasks": {"recommended": {"kind": "classify", "target": "recommended"}},
        "tuning": tuning,
        "train": {"epochs": 2, "batch": 16},
    }
    off, on, again = (
        fit(read(values, [f"tuning={tuning}", f"train.cache={gib}"]), tmp_path / name) for name, gib in [("off", 0), ("on", 1), ("again", 1)]
    )
    for name, weight in off.model.state_dict().items():
        assert torch.equal(on.model.state_dict()[name], weight) and torch.equal(again.model.state_dict()[name], weight), name
    assert off.report.tasks == on.report.tasks == again.report.tasks
    assert " 0 rows computed" in again.report.cost["frozen part of text"]


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [["tuning={kind: freeze, blocks: 1}"], ["tuning=probe", "inputs.image.views=2"]], ids=["decoded", "views"])
def test_a_whole_run_on_photographs_is_the_same_bit_for_bit(overrides: list[str], tmp_path: Path) -> None:
    values = {
        "data": {"from": "sample:elpv#40", "split": [0.5, 0.25, 0.25]},
        "inputs": {"image": {"kind": "image", "backbone": "sample:efficientnet-lite0"}},
        "tasks": {"defective": {"kind": "classify", "target": "defective"}},
        "train": {"epochs": 2 if "probe" not in overrides[0] else 4, "batch": 8},
    }
    off, on, again = (fit(read(values, [*overrides, f"train.cache={gib}"]), tmp_path / name) for name, gib in [("off", 0), ("on", 1), ("again", 1)])
    for name, weight in off.model.state_dict().items():
        assert torch.equal(on.model.state_dict()[name], weight) and torch.equal(again.model.state_dict()[name], weight), name
    assert off.report.tasks == on.report.tasks == again.report.tasks
    if "probe" in overrides[0]:
        assert " 0 rows computed" in again.report.cost["frozen part of image"]
    else:
        assert again.report.cost["files of image"].startswith("0 decoded, ")
    assert "% of the time" in again.report.cost["waited_for_input"]


@pytest.mark.parametrize(("name", "tuning"), [("bert", "probe"), ("bert", "{kind: freeze, blocks: 1}"), ("vit", "{kind: freeze, blocks: 1}")])
def test_16_bits_take_half_the_room_and_hardly_move_the_weights(name: str, tuning: str) -> None:
    asked = [f"tuning={tuning}"]
    wanted, _ = trained(recipe(name, *asked))
    found, on = trained(recipe(name, *asked, "train.cache_bits=16"))
    sizes = sorted(one.bytes for one in cache.kept() if one.about["holds"] == "activations")
    assert on.facts()["frozen part of x"].endswith("; in 16 bits")
    assert any(not torch.equal(found[name], weight) for name, weight in wanted.items())
    for weight in wanted:
        torch.testing.assert_close(found[weight], wanted[weight], rtol=5e-3, atol=5e-3)
    assert 0.4 < sizes[0] / sizes[1] < 0.75  # the index beside the numbers stays as large


def test_where_16_bits_move_too_much_there_are_32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "BOUND", 1e-9)
    wanted, _ = trained(recipe("bert"))
    cache.empty()
    found, on = trained(recipe("bert", "train.cache_bits=16"))
    assert "; in 32 bits, since 16 move a vector by " in on.facts()["frozen part of x"]
    assert all(torch.equal(found[name], weight) for name, weight in wanted.items())


def test_a_row_beyond_16_bits_is_computed_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "LARGEST", 1e-6)
    _, on = trained(recipe("bert", "train.cache_bits=16"))
    assert on.prefixes["x"].read <= 3 and on.prefixes["x"].computed >= 3 * (len(on.prepared.parts["train"]) - 1)


def test_what_is_frozen_is_not_computed_twice_where_a_batch_is_read_twice() -> None:
    """Where the loss wants the batch together, its parts are read once without a graph and once with one."""
    asked = read(
        recipe("bert").to_dict()
        | {
            "data": {"from": [{"x": f"word {i}", "z": f"other {i}"} for i in range(24)], "split": [0.7, 0.3, 0]},
            "inputs": {name: {"kind": "text", "backbone": str(checkpoints.tiny_bert())} for name in "xz"},
            "tasks": {"match": {"kind": "match", "a": "x", "b": "z", "width": 8}},
        },
        ["train.micro_batch=3", "train.epochs=2", "train.stop_on=loss"],
    )
    found = {}
    for cached in (1.0, 0.0):
        model, prepared = ready(asked.replace(train=replace(asked.train, cache=cached)))
        tune(model, prepared.recipe)
        frozen, train, entered = Frozen(model, prepared), prepared.recipe.train, []
        lowest = model.backbones["x"].blocks[0]
        hook = lowest.register_forward_hook(lambda module, given, made, entered=entered: entered.append(1))
        for _ in Loop(model, frozen.prepared.batches("train", int(train.batch), 0), train, {"match": 1.0}):
            pass
        hook.remove()
        found[cached] = {name: p.detach().clone() for name, p in model.learning().items()}, sum(entered)
        frozen.close()
        prepared.close()
    sizes = [8, 8, len(prepared.parts["train"]) - 16]
    parts = [-(-size // 3) for size in sizes]
    assert found[1.0][1] == sum(parts), "once"
    assert found[0.0][1] == 2 * sum(n * (2 if n > 1 else 1) for n in parts), "in each of two epochs, twice where there are parts"
    close(found[1.0][0], found[0.0][0])
