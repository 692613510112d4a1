"""On a GPU: what is promised of a CPU holds there, in bfloat16, with FlashAttention for flat rows and compiled blocks."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

import checkpoints
from omnitune.artifact import load
from omnitune.backbones.pretrained import Pretrained
from omnitune.commands.fit import fit
from omnitune.data import store
from omnitune.nn import flat, varlen
from omnitune.nn.encoder import Encoder
from omnitune.recipe import Recipe, read
from omnitune.training.device import autocast
from omnitune.tuning.full import Full

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="wants a GPU"),
    pytest.mark.filterwarnings("ignore"),  # those of the compiler about itself
]
GPU = torch.device("cuda")
FLAT = ["bert", "distilbert", "roberta", "modernbert", "gpt2", "llama", "qwen3"]
WORDS = " ".join(checkpoints.SENTENCES).split()
ROWS = [{"x": " ".join(WORDS[i : i + 1 + i * 7 % 19]), "y": "ab"[i % 2]} for i in range(60)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "folder", lambda: tmp_path / "kept")


def encoder(checkpoint: Path) -> Encoder:
    made = Pretrained(str(checkpoint)).encoder().to(GPU)
    made.set_dropout(0.0, 0.0)
    Full().apply(made)
    return made


def texts(lengths: list[int], seed: int = 0) -> dict[str, Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(10, 60, mask.shape, generator=torch.Generator().manual_seed(seed))
    return {"input_ids": (ids * mask).to(GPU), "attention_mask": mask.long().to(GPU)}


def learned(made: Encoder, inputs: dict[str, Tensor], precision: str = "bfloat16") -> tuple[float, Tensor]:
    """The loss, and all gradients in one row."""
    made.train().zero_grad()
    with autocast(GPU, precision):
        loss = made(**inputs).pooled().float().square().mean()
    loss.backward()
    return float(loss), torch.cat([p.grad.flatten().cpu() for _, p in sorted(made.named_parameters()) if p.grad is not None])


def alike(found: tuple[float, Tensor], wanted: tuple[float, Tensor], share: float = 0.05) -> None:
    assert found[0] == pytest.approx(wanted[0], rel=share)
    assert float((found[1] - wanted[1]).norm() / wanted[1].norm()) < share


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_attention_of_flat_rows_is_that_of_each_row(causal: bool, window: int | None, kv_heads: int) -> None:
    lengths, random = [5, 1, 40, 17], torch.Generator(GPU).manual_seed(0)
    q, k, v = (torch.randn(1, h, sum(lengths), 16, device=GPU, generator=random).bfloat16() for h in (4, kv_heads, kv_heads))
    mask = torch.tensor(lengths, device=GPU).expand(1, 1, max(lengths), -1)
    module = nn.Module()
    found, _ = flat.attention(module, q, k, v, mask, is_causal=causal, sliding_window=window)
    for part, *own in zip(*(torch.split(x, lengths, dim) for x, dim in ((found, 1), (q, 2), (k, 2), (v, 2))), strict=True):
        L = part.shape[1]
        back = torch.arange(L, device=GPU)[:, None] - torch.arange(L, device=GPU)
        seen = (back.abs() < (window or L)) & ((back >= 0) | (not causal))
        wanted = scaled_dot_product_attention(*(x.float() for x in own), seen, enable_gqa=True).transpose(1, 2)
        torch.testing.assert_close(part.float(), wanted, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("name", FLAT)
def test_flat_rows_give_the_loss_and_gradients_of_padded_ones(name: str) -> None:
    inputs, made = texts([5, 20, 9, 1, 20, 13]), encoder(checkpoints.TEXT[name]())
    found = learned(made, inputs)
    assert made.path()["texts"] == "flat rows, no padding"
    made.padding.flat = False
    alike(found, learned(made, inputs))
    alike(found, learned(made, inputs, "float32"))


def test_it_says_why_rows_are_padded() -> None:
    inputs, made = texts([5, 9]), encoder(checkpoints.tiny_bert())
    learned(made, inputs, "float32")
    assert made.path()["texts"].startswith("padded: FlashAttention knows no float32") and "22.2% of the tokens" in made.path()["texts"]
    made.set_dropout(0.0, 0.1)
    learned(made, inputs)
    assert "train.attention_dropout 0" in made.path()["texts"]
    assert varlen.lacking(torch.device("mps"), torch.bfloat16) == "as rows are on mps"


@pytest.mark.parametrize("name", ["bert", "modernbert", "gpt2", "llama"])
def test_compiled_blocks_give_the_same(name: str) -> None:
    plain, made = encoder(checkpoints.TEXT[name]()), encoder(checkpoints.TEXT[name]())
    made.compile_blocks()
    for seed, lengths in enumerate([[5, 20, 9], [30, 2, 2, 11], [7, 8]]):
        inputs = texts(lengths, seed)
        alike(learned(made, inputs), learned(plain, inputs))
    assert made.path()["texts"] == "flat rows, no padding"
    with torch.no_grad(), autocast(GPU, "bfloat16"):
        torch.testing.assert_close(made.eval()(**inputs).x_BLD, plain.eval()(**inputs).x_BLD)


def test_compiled_blocks_of_pictures() -> None:
    plain, made = encoder(checkpoints.tiny_vit()), encoder(checkpoints.tiny_vit())
    made.compile_blocks()
    for rows in (4, 4, 3):
        inputs = {"pixel_values": torch.randn(rows, 3, checkpoints.SIDE, checkpoints.SIDE, device=GPU)}
        alike(learned(made, inputs), learned(plain, inputs))


# Whole runs


def recipe(tuning: str, *overrides: str) -> Recipe:
    return read(
        {
            "data": {"from": ROWS, "split": [0.6, 0.2, 0.2]},
            "inputs": {"x": {"kind": "text", "backbone": {"kind": "pretrained", "name": str(checkpoints.tiny_bert())}}},
            "tasks": {"y": {"kind": "classify", "target": "y"}},
            "tuning": tuning,
            "train": {"epochs": 3, "batch": 6},
        },
        overrides,
    )


@pytest.mark.parametrize("tuning", ["full", "lora", "freeze", "probe", "auto"])
def test_a_run_fits_and_its_artifact_answers(tuning: str, tmp_path: Path) -> None:
    artifact = fit(recipe(tuning), tmp_path / "run")
    cost = artifact.report.cost
    assert cost["device"] == torch.cuda.get_device_name() and artifact.recipe.train.precision == "bfloat16"
    assert cost["texts of x"] == "flat rows, no padding"
    again = load(tmp_path / "run").predict(ROWS[:9])
    assert [row["y"]["value"] for row in artifact.predict(ROWS[:9])] == [row["y"]["value"] for row in again]


def test_a_frozen_part_is_kept_and_read_again_with_the_same_losses(tmp_path: Path) -> None:
    losses = [
        validated(fit(recipe("freeze", "train.dropout=0", f"train.cache={cache}"), tmp_path / f"{i}").path) for i, cache in enumerate((1, 0, 1))
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02)
    np.testing.assert_allclose(losses[0], losses[2], rtol=0.02)


def test_a_run_that_was_cut_off_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnitune.training.loop import Loop

    whole = fit(recipe("full"), tmp_path / "whole")
    steps = Loop.__iter__

    def few(loop: Loop) -> Any:
        for step in steps(loop):
            yield step
            if step.step == 8:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "__iter__", few)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe("full"), tmp_path / "cut")
    resumed = fit(recipe("full"), tmp_path / "cut", resume=True)
    for (name, one), (_, other) in zip(whole.model.state_dict().items(), resumed.model.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def test_a_batch_too_large_for_memory_is_parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnitune.training.loop import Loop

    sizes, halve = [], Loop._halve
    monkeypatch.setattr(Loop, "_halve", lambda loop, error: (halve(loop, error), sizes.append(loop.progress.micro_batch))[0])
    torch.cuda.set_per_process_memory_fraction(6e8 / torch.cuda.get_device_properties(0).total_memory)
    try:
        rows = [{"x": " ".join(WORDS * 3)[: 400 + i % 90], "y": "ab"[i % 2]} for i in range(4000)]
        asked = recipe("full", "train.batch=2048", "train.epochs=1", "train.flat=false")
        report = fit(asked.replace(data=asked.data.replace(source=rows)), tmp_path / "run").report
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert sizes and sizes[-1] < 2048
    assert report.cost["device"] == torch.cuda.get_device_name()


def validated(run: Path) -> list[float]:
    """The validation losses of a run."""
    with (run / "log.csv").open(encoding="utf-8") as file:
        return [float(row["validation.loss"]) for row in csv.DictReader(file) if row["validation.loss"]]
