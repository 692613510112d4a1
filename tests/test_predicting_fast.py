"""Prediction with a real backbone: batches of equal tokens, answers in the order of the rows; int8, which leaves the float answers alone."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from checkpoints import tiny_gpt2
from omnitune import artifact as artifacts
from omnitune import reading
from omnitune.artifact import Artifact
from omnitune.cli import app
from omnitune.commands.fit import fit
from omnitune.data.table import read as read_table
from omnitune.errors import Mistake
from omnitune.nn.int8 import quantised
from omnitune.recipe import read
from omnitune.rounding import Rounding

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A LoRA on MiniLM and real reviews."""
    recipe = read({
        "data": "sample:women-reviews#120",
        "inputs": {"text": {"kind": "text", "backbone": "sample:minilm-l6", "max_tokens": 48}, "age": "number"},
        "tasks": {"recommended": {"kind": "classify", "target": "recommended"}, "rating": {"kind": "regress", "target": "rating"}},
        "tuning": {"kind": "lora", "rank": 4, "blocks": 1},
        "train": {"epochs": 1, "lr": 0.01},
    })  # fmt: skip
    return fit(recipe, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Reviews of very different lengths, shuffled, some missing or empty."""
    table = read_table("sample:women-reviews#24")
    texts = [text or "" for text in table.take("text", np.arange(24))]
    texts = [text[: 15 * (i % 7) + 1] if i % 3 else f"{text} {text}" for i, text in enumerate(texts)]
    made = [{"text": text, "age": i} for i, text in enumerate([*texts, None, ""])]
    return [made[i] for i in np.random.default_rng(0).permutation(len(made))]


def values(answers: list[dict[str, Any]]) -> np.ndarray:
    return np.array([[*a["recommended"]["probabilities"].values(), a["rating"]["value"]] for a in answers])


def test_answers_are_those_of_each_row_alone_for_any_split(run: Artifact, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = values([run.predict(row) for row in rows])
    assert np.ptp(alone[:, 0]) > 0.01, "rows must be told apart"
    for batch in (1, 3, 32):
        np.testing.assert_allclose(values(run.predict(rows, batch=batch)), alone, atol=1e-5)
    monkeypatch.setattr(reading, "CHUNK", 5)
    np.testing.assert_allclose(values(run.predict(rows)), alone, atol=1e-5)
    np.testing.assert_allclose(values(list(run.stream(iter(rows), 2))), alone, atol=1e-5)


def test_batches_hold_like_rows_and_about_equally_many_tokens(run: Artifact) -> None:
    sizes = np.random.default_rng(1).integers(2, 128, 300).tolist()
    cuts = run._predictor(4, False).reader.cut(sizes)
    assert sorted(place for cut in cuts for place in cut) == list(range(300))
    flat = [sizes[place] for cut in cuts for place in cut]
    assert flat == sorted(sizes, reverse=True)
    tokens = [sum(sizes[place] for place in cut) for cut in cuts]
    assert max(tokens) <= 4 * reading.TOKENS and min(tokens[:-1]) > 4 * reading.TOKENS - 128
    assert run._predictor(1, False).reader.cut([1000, 1000]) == [[0], [1]], "a row beyond the budget is a batch of its own"


def test_a_bad_row_keeps_its_error_among_rows_of_all_lengths(run: Artifact, rows: list[dict[str, Any]]) -> None:
    whole = values(run.predict(rows))
    bad = [dict(row, age="old") if i in (0, 7, 25) else row for i, row in enumerate(rows)]
    for int8 in (False, True):
        answers = run.predict(bad, batch=3, int8=int8)
        assert [i for i, answer in enumerate(answers) if "error" in answer] == [0, 7, 25]
        good = [i for i in range(len(rows)) if i not in (0, 7, 25)]
        near = [0.1, 0.1, 0.5] if int8 else 1e-5  # int8 rounds by the range of a batch, and ratings spread over 1 to 5
        assert (np.abs(values([answers[i] for i in good]) - whole[good]) < near).all()
    assert run.predict(bad[:1]) == [answers[0]], "a chunk without a row that can be read"


def test_adapters_are_merged_for_prediction_and_the_files_stay(run: Artifact) -> None:
    """Merging gives what the adapter gives beside the weights."""
    from omnitune.nn import adapters

    texts = {"input_ids": torch.tensor([[101, 2307, 4377, 102]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    merged = run.model.backbones["text"]
    assert not merged.adapted and not any("lora" in name for name, _ in merged.named_parameters())
    beside = run.recipe.inputs["text"].backbone.encoder()
    with torch.no_grad():
        before = beside(**texts).x_BLD
        adapters.read(beside.model, run.path / "inputs" / "text_")
        torch.testing.assert_close(merged(**texts).x_BLD, beside.eval()(**texts).x_BLD, rtol=0, atol=1e-5)
        assert (merged(**texts).x_BLD - before).abs().max() > 1e-3, "the adapter has learned something"


def test_int8_is_near_and_leaves_the_float_answers_and_the_files_alone(run: Artifact, rows: list[dict[str, Any]]) -> None:
    files = {path: hashlib.sha256(path.read_bytes()).digest() for path in run.path.rglob("*") if path.is_file()}
    before = run.predict(rows)
    rounded = run.predict(rows, int8=True)
    assert run.predict(rows) == before, "bit for bit"
    change = np.abs(values(rounded) - values(before))
    assert change.max() > 0 and change[:, :2].max() < 0.1
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in files} == files
    assert set(rounded[0]) == {"recommended", "rating"}


def test_what_int8_changes_is_measured_on_the_stored_test_rows(run: Artifact, rows: list[dict[str, Any]]) -> None:
    from omnitune.evaluation import stored

    found, kept = run.rounding(), stored.read(run.path)["recommended"].predictions
    assert found["recommended"].on == "test rows" and found["recommended"].rows == len(kept.y)
    whole, rounded = found["recommended"].metrics["accuracy"]
    assert whole == pytest.approx(run.report.value("recommended", "accuracy")) and abs(whole - rounded) < 0.15
    assert found["recommended"].same > 0.8 and 0 < found["recommended"].largest < 0.1
    given = run.rounding(rows)
    assert {r.on for r in given.values()} == {"given rows"} and given["rating"].rows == len(rows) and not given["rating"].metrics
    assert given["recommended"].largest < 0.1


def test_the_command_says_what_int8_changes(run: Artifact, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = CliRunner().invoke(app, ["predict", str(run.path), str(tmp_path / "rows.jsonl"), "--int8", "--json"])
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == len(rows)
    assert "recommended: int8 against float32 on" in done.stderr and "test rows" in done.stderr and "accuracy" in done.stderr
    folder = tmp_path / "far"
    folder.mkdir()
    for path in run.path.iterdir():
        if path.name != "predictions.parquet":
            (folder / path.name).symlink_to(path)
    done = CliRunner().invoke(app, ["predict", str(folder), str(tmp_path / "rows.jsonl"), "--int8", "--json"])
    assert done.exit_code == 0 and f"{len(rows)} given rows" in done.stderr, done.output


def test_int8_of_a_model_without_linear_layers_is_refused(run: Artifact) -> None:
    with pytest.raises(Mistake, match="no backbone with linear layers"):
        quantised(run.model, [])
    with pytest.raises(Mistake, match="int8 is for CPUs"):
        quantised(torch.nn.Linear(2, 2, device="meta"), [""])


def test_int8_knows_the_transposed_layers_of_gpt2() -> None:
    from omnitune.backbones.pretrained import Pretrained

    whole = Pretrained(str(tiny_gpt2())).encoder()
    rounded = quantised(whole, ["model"])
    ids = torch.arange(1, 9).view(1, 8)
    with torch.inference_mode():
        a, b = (encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).x_BLD for encoder in (whole, rounded))
    assert "Conv1D" in str(whole) and "Conv1D" not in str(rounded)
    assert 0 < (a - b).abs().max() < 0.1 * a.abs().max()


def test_int8_is_as_near_as_its_rounding() -> None:
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(64, 96), torch.randn(3, 5, 64)
    wanted, rounded = linear(x), quantised(torch.nn.Sequential(linear), [""])(x)
    assert 0 < (rounded - wanted).detach().abs().max() < 0.02 * wanted.detach().abs().max()


def test_artifacts_are_loaded_on_the_device_that_is_asked_for(run: Artifact) -> None:
    assert artifacts.load(run.path, torch.device("cpu")).model.device.type == "cpu"


def test_of_no_rows_nothing_is_claimed() -> None:
    assert str(Rounding(0, "test rows", 1.0, 0.0, {})) == "int8 against float32: not measured, since none of the test rows has an answer"
