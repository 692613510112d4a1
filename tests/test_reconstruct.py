"""Pictures and series through a few numbers, in the same loop: measured beside PCA at the same rate, saved, gone on with, beside answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import checkpoints
from omnitune import Artifact, Mistake, compare, fit, load
from omnitune.cli import app
from omnitune.data.prepared import prepare
from omnitune.modalities.image import Image
from omnitune.nn.rebuild import PictureDecoder, SeriesDecoder, Squeeze, rounded
from omnitune.nn.tokens import Tokens
from omnitune.recipe import Recipe, read
from runs import cut_and_resumed, same_weights

TASKS: dict[str, Any] = {"code": {"kind": "reconstruct", "of": "wave", "width": 3}}


def rows(n: int = 200) -> list[dict[str, Any]]:
    """Waves of two numbers, height and phase, which no three principal components hold; gaps, short, missing and constant ones among them."""
    rng = np.random.default_rng(0)
    made: list[dict[str, Any]] = []
    for i in range(n):
        height, phase = rng.uniform(1, 3), rng.uniform(0, 1.5)
        wave = 50 + height * np.sign(np.sin(2 * np.pi * (np.arange(24) / 24 + phase)))
        made.append({"wave": [None if k == i % 24 and i % 3 == 0 else float(x) for k, x in enumerate(wave)], "high": "yes" if height > 2 else "no"})
    made[3]["wave"], made[5]["wave"], made[7]["wave"] = None, [49.0, 50.0, 51.0], [50.0] * 24
    return made


def recipe(tasks: Any = TASKS, **train: Any) -> Recipe:
    inputs = {"wave": {"kind": "series", "patch": 4, "width": 32, "layers": 1, "dropout": 0.0}}
    settings = {"epochs": 40, "batch": 16} | train
    return read({"data": {"from": rows(), "split": [0.6, 0.2, 0.2]}, "inputs": inputs, "tasks": tasks, "train": settings})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(), tmp_path_factory.mktemp("reconstruct") / "run")


def test_it_learns_and_says_how_much_at_which_rate(trained: Artifact) -> None:
    task = trained.report.tasks["code"]
    mse = {model: figures["mse"]["value"] for model, figures in task["metrics"]["models"].items()}
    assert set(mse) == {"constant", "simple", "before", "after"} and mse["after"] < 0.5 * mse["constant"]
    assert task["baselines"]["after"] == "3 numbers a row (24 bits at 8 each), of 24" and "PCA" in task["baselines"]["simple"]
    assert trained.report.value("code", "mse_8bit") == pytest.approx(mse["after"], rel=0.05)
    assert "3 numbers a row" in (trained.path / "report.md").read_text()


def test_what_is_measured_is_what_a_plain_loop_measures(trained: Artifact) -> None:
    from sklearn.decomposition import PCA

    prepared = prepare(recipe())
    x = {part: [rows()[r]["wave"] for r in prepared.parts[part] if rows()[r]["wave"] is not None] for part in ("train", "test")}
    wide = {part: np.array([[np.nan] * (24 - len(w)) + [np.nan if v is None else v for v in w] for w in waves]) for part, waves in x.items()}
    mean = np.nanmean(wide["train"], 0)
    filled = {part: np.where(np.isnan(w), mean, w) for part, w in wide.items()}
    pca = PCA(3).fit(filled["train"])
    models = trained.report.tasks["code"]["metrics"]["models"]
    for name, said in {"simple": pca.inverse_transform(pca.transform(filled["test"])), "constant": mean}.items():
        assert models[name]["mse"]["value"] == pytest.approx(np.nanmean(np.square(said - wide["test"])), rel=1e-3)
    decoder, facts = trained.model.head("code").decoder, trained.schema.inputs["wave"]
    codes = torch.tensor([answer["code"]["value"] for answer in trained.predict([{"wave": w} for w in x["test"]])])
    assert codes.shape == (len(x["test"]), 3) and codes.abs().max() <= 1
    said = decoder(codes).numpy() * facts["spread"] + facts["centre"]
    assert models["after"]["mse"]["value"] == pytest.approx(np.nanmean(np.square(said - wide["test"])), rel=1e-3)


def test_it_says_what_is_kept_and_saved_it_says_the_same(trained: Artifact) -> None:
    answers = trained.predict(rows()[:6])
    assert len(answers[0]["code"]["value"]) == 3 and answers[3]["code"]["value"] is None
    assert load(trained.path).predict(rows()[:6]) == answers


def test_the_command_line_says_it_too(trained: Artifact, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_text('wave\n"[50, 51, null, 52]"\n50 51 52\n""\noops\n')
    done = CliRunner().invoke(app, ["predict", str(trained.path), str(table)])
    lines = done.stdout.splitlines()
    assert lines[0].startswith("code: ") and lines[0].count(",") == 2 and lines[2] == "code: nothing, since an input is missing"
    assert "one number is no series" in lines[3]
    assert CliRunner().invoke(app, ["predict", str(trained.path), str(table), "--out", str(tmp_path / "out.csv")]).exit_code in (0, 1)
    assert (tmp_path / "out.csv").read_text().splitlines()[1].count("|") == 2


def test_the_same_seed_gives_the_same_bits_and_resuming_too(trained: Artifact, tmp_path: Path) -> None:
    resumed = cut_and_resumed(recipe(save_minutes=1e-9), tmp_path / "off", 20)
    assert same_weights(trained, resumed)
    shared = compare(trained.path, tmp_path / "off")["tasks"]["code"]
    assert shared["shared"] and not shared["only_a"] and shared["metrics"]["differences"]["a"]["mse"]["value"] == 0


def test_series_are_foretold_rebuilt_and_classified_at_once(tmp_path: Path) -> None:
    tasks = TASKS | {"next": {"kind": "forecast", "of": "wave", "horizon": 4}, "high": {"kind": "classify", "target": "high"}}
    values = recipe(tasks, epochs=1).to_dict() | {"data": {"from": rows(), "split": [0.6, 0.2, 0.2]}}
    values["inputs"]["wave"]["causal"] = True
    made = fit(read(values), tmp_path / "run")
    (answer,) = made.predict(rows()[:1])
    assert (len(answer["code"]["value"]), len(answer["next"]["value"]), set(answer["high"])) == (3, 4, {"value", "probabilities"})
    assert set(made.report.tasks["next"]["metrics"]["models"]) == {"constant", "naive", "simple", "before", "after"}


def test_pictures_are_rebuilt_beside_a_class(tmp_path: Path) -> None:
    pictures = Image(backbone=str(checkpoints.tiny_vit())).example(60, np.random.default_rng(0))
    source = [{"image": None if i == 4 else picture, "odd": i % 2} for i, picture in enumerate(pictures)]
    tasks = {"code": {"kind": "reconstruct", "of": "image", "width": 8, "size": 16}, "odd": {"kind": "classify", "target": "odd"}}
    inputs = {"image": {"kind": "image", "backbone": str(checkpoints.tiny_vit()), "augment": False}}
    train = {"epochs": 20, "lr": 1e-3, "head_lr": 3e-3}
    made = fit(read({"data": {"from": source, "split": [0.6, 0.2, 0.2]}, "inputs": inputs, "tasks": tasks, "train": train}), tmp_path / "run")
    models = made.report.tasks["code"]["metrics"]["models"]
    assert (
        models["after"]["psnr"]["value"] > models["before"]["psnr"]["value"] and models["after"]["mse"]["value"] < models["constant"]["mse"]["value"]
    )
    assert models["simple"]["mse"]["value"] < models["constant"]["mse"]["value"] < 1
    assert made.report.tasks["code"]["baselines"]["after"] == "8 numbers a row (64 bits at 8 each), of 768"
    first, missing = made.predict([{"image": pictures[0]}, {"image": None}])
    assert len(first["code"]["value"]) == 8 and missing["code"]["value"] is None and "value" in missing["odd"]


def test_eight_bits_are_256_levels() -> None:
    code = torch.linspace(-1, 1, 10_001)
    kept = rounded(code)
    assert len(kept.unique()) == 256 and (kept - code).abs().max() <= 1 / 255 + 1e-6
    assert kept[0] == -1 and kept[-1] == 1


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_decoders_draw_what_is_asked_for(size: int) -> None:
    torch.manual_seed(0)
    code = torch.rand(2, 5) * 2 - 1
    assert PictureDecoder(5, size)(code).shape == (2, 3 * size * size)
    assert SeriesDecoder(5, size)(code).shape == (2, size)


def test_padding_and_missing_rows_change_no_code() -> None:
    torch.manual_seed(0)
    squeeze, x = Squeeze(12, 4).eval(), torch.randn(3, 6, 12)
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6, [False] * 6])
    code = squeeze(Tokens(x * mask[..., None], mask))
    torch.testing.assert_close(code[0], squeeze(Tokens(x[:1, :4], mask[:1, :4]))[0])
    assert code.isfinite().all()
    moved = squeeze(Tokens(x[1:2].flip(1), mask[1:2]))
    assert not torch.allclose(code[1], moved[0], atol=1e-3), "where a token stands counts"


@pytest.mark.parametrize(
    ("task", "wrong"),
    [({"of": "wafe"}, "'wafe' is no image or series input"), ({"of": "wave", "width": 0}, "width"), ({"of": "wave", "size": 33}, "size")],
)
def test_what_cannot_be_rebuilt_is_said(task: Any, wrong: str) -> None:
    with pytest.raises(Mistake, match=wrong):
        recipe({"code": {"kind": "reconstruct"} | task})
