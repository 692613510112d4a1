"""A saved model is complete: it predicts the same elsewhere, stays small where it can, and refuses damage."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pictures

from checkpoints import SENTENCES, tiny_bert, tiny_vit
from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.commands.fit import fit
from omnitune.errors import Mistake
from omnitune.recipe import read

pytestmark = pytest.mark.slow


def table(folder: Path, n: int = 60) -> list[dict[str, Any]]:
    """Reviews with a picture, a number and a category; every seventh value of each is missing."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        good = i % 2
        pixels = np.full((40, 40, 3), 220 if good else 40, np.uint8) + rng.integers(0, 30, (40, 40, 3), dtype=np.uint8)
        Pictures.fromarray(pixels).save(folder / f"{i}.png")
        made.append({
            "text": f"{SENTENCES[i % 5]} {i}" if i % 7 else None, "photo": f"{i}.png" if i % 7 != 1 else None,
            "price": float(i) if i % 7 != 2 else None, "shop": ["a", "b"][good] if i % 7 != 3 else None,
            "mood": ["bad", "good"][good], "stars": 1.0 + 4 * good, "tags": ["x"] if good else ["y", "z"],
        })  # fmt: skip
    return made


def recipe(source: Any, *overrides: str):
    values = {
        "data": {"from": str(source), "split": [0.6, 0.2, 0.2]},
        "inputs": {
            "text": {"kind": "text", "backbone": str(tiny_bert())},
            "photo": {"kind": "image", "backbone": str(tiny_vit())},
            "price": "number",
            "shop": "category",
        },
        "tasks": {
            "mood": {"kind": "classify", "target": "mood"},
            "stars": {"kind": "regress", "target": "stars"},
            "tags": {"kind": "label", "target": "tags"},
        },
        "train": {"epochs": 2, "batch": 8},
    }
    return read(values, overrides)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    made = table(folder)
    (folder / "table.jsonl").write_text("\n".join(json.dumps(row) for row in made))
    return folder / "table.jsonl"


@pytest.fixture(scope="module", params=["full", "freeze", "lora", "probe", "bias"])
def run(request: pytest.FixtureRequest, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    tuning = ["tuning=freeze", "tuning.blocks=1"] if request.param == "freeze" else [f"tuning={request.param}"]
    return fit(recipe(rows, *tuning), tmp_path_factory.mktemp("runs") / request.param)


def values(answers: list[dict[str, Any]]) -> np.ndarray:
    return np.array([[*a["mood"]["probabilities"].values(), a["stars"]["value"], *a["tags"]["probabilities"].values()] for a in answers])


def test_the_saved_model_predicts_what_the_report_measured(run: Artifact, rows: Path) -> None:
    from omnitune.evaluation import stored

    answers = values(run.predict(rows))
    for task, columns in {"mood": slice(0, 2), "stars": slice(2, 3), "tags": slice(3, 6)}.items():
        found = stored.read(run.path)[task].predictions
        np.testing.assert_allclose(answers[found.rows, columns].reshape(found.p.shape), found.p, atol=1e-4)


def test_it_loads_elsewhere_without_its_data_and_predicts_the_same(run: Artifact, rows: Path, tmp_path: Path) -> None:
    here = values(run.predict(rows))
    shutil.copytree(run.path, tmp_path / "moved")
    there = artifacts.load(tmp_path / "moved")
    np.testing.assert_array_equal(values(there.predict(rows)), here)
    assert there.recipe == run.recipe and there.schema == run.schema


def test_backbones_are_directories_that_transformers_and_peft_read(run: Artifact) -> None:
    from peft import PeftModel
    from transformers import AutoModel, AutoTokenizer

    folder = next((run.path / "inputs").glob("text*"))
    tokens = AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
    if run.recipe.tuning.kind == "lora":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of peft against the newest transformers
            model = PeftModel.from_pretrained(AutoModel.from_pretrained(tiny_bert()), str(folder))
    else:
        model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        theirs = model.eval()(**tokens).last_hidden_state
        ours = run.model.backbones["text"](**tokens)
    torch.testing.assert_close(ours.x_BLD[ours.mask_BL], theirs[ours.mask_BL], rtol=1e-4, atol=1e-5)


def test_a_row_that_cannot_be_read_gets_its_error_and_no_other_rows_answer(run: Artifact, rows: Path) -> None:
    lines = [json.loads(line) for line in rows.read_text().splitlines()[:6]]
    for line in lines:
        line["photo"] = line["photo"] and (rows.parent / line["photo"]).read_bytes()
    whole = values(run.predict(lines))
    lines[2]["photo"] = lines[4]["photo"][:100] if lines[4]["photo"] else b"no picture"
    lines[4]["price"] = "cheap"
    answers = run.predict(lines)
    assert set(answers[2]) == {"error"} and "photo" in answers[2]["error"]
    assert set(answers[4]) == {"error"} and "'cheap' is not a number" in answers[4]["error"]
    kept = [0, 1, 3, 5]
    np.testing.assert_allclose(values([answers[i] for i in kept]), whole[kept], atol=1e-5)


def test_predictions_do_not_depend_on_the_batch_or_the_form_of_the_rows(run: Artifact, rows: Path) -> None:
    import pandas as pd

    one_by_one = values(run.predict(rows, batch=1))
    np.testing.assert_allclose(values(run.predict(rows, batch=7)), one_by_one, atol=1e-5)
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    for line in lines:
        line["photo"] = line["photo"] and (rows.parent / line["photo"]).read_bytes()
    np.testing.assert_allclose(values(run.predict(lines)), one_by_one, atol=1e-5)
    np.testing.assert_allclose(values(run.predict(pd.DataFrame(lines))), one_by_one, atol=1e-5)
    single = run.predict(lines[5])
    assert isinstance(single, dict)
    np.testing.assert_allclose(values([single]), one_by_one[[5]], atol=1e-5)


def test_a_model_measured_in_float32_predicts_in_it_wherever_it_is(run: Artifact, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = run.predict(rows)
    monkeypatch.setattr(artifacts, "precision", lambda device: "bfloat16")  # as on a GPU that multiplies it
    assert run.recipe.train.precision == "float32" and run.predict(rows) == there


def test_streaming_does_not_wait_for_the_end(run: Artifact) -> None:
    def endless():
        i = 0
        while True:
            yield {"text": f"soft {i}", "photo": None, "price": i, "shop": "a"}
            i += 1

    stream = run.stream(endless())
    assert [set(next(stream)) for _ in range(3)] == [{"mood", "stars", "tags"}] * 3


def test_a_column_that_is_not_there_is_named(run: Artifact) -> None:
    with pytest.raises(Mistake, match=r"no column 'price'. Did you mean 'prize'\?"):
        run.predict([{"text": "a", "photo": None, "prize": 1, "shop": "a"}])


def test_a_checkpoint_that_any_machine_finds_is_not_copied(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnitune import samples

    monkeypatch.setattr(samples, "path", lambda name: tiny_bert())
    run = fit(recipe(rows, "tuning=lora", "inputs.text.backbone=sample:minilm-l6"), tmp_path / "run")
    stored, there = next((run.path / "inputs").glob("photo*")), next((run.path / "inputs").glob("text*"))
    assert (stored / "model.safetensors").exists(), "a directory of this machine is copied"
    assert not (there / "model.safetensors").exists() and (there / "adapter_model.safetensors").exists()
    before = values(run.predict(rows))
    np.testing.assert_array_equal(values(artifacts.load(run.path).predict(rows)), before)

    changed = shutil.copytree(tiny_bert(), tmp_path / "changed")
    from safetensors.torch import load_file, save_file

    weights = {name: t.clone() for name, t in load_file(changed / "model.safetensors").items()}
    next(iter(weights.values())).add_(0.1)
    (changed / "model.safetensors").unlink()
    save_file(weights, changed / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(samples, "path", lambda name: changed)
    with pytest.raises(Mistake, match="other weights than in training"):
        artifacts.load(run.path)


def test_damage_is_named(run: Artifact, tmp_path: Path) -> None:
    folder = shutil.copytree(run.path, tmp_path / "run")
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(Mistake, match="damaged"):
        artifacts.load(folder)
    with pytest.raises(Mistake, match="no finished model here"):
        artifacts.load(tmp_path)


def test_nothing_saved_is_a_pickle(run: Artifact) -> None:
    plain = {".safetensors", ".json", ".yaml", ".md", ".html", ".csv", ".parquet", ".txt", ".jinja"}
    for path in run.path.rglob("*"):
        if path.is_file():
            assert path.suffix in plain or path.name == "SHA256SUMS"
            assert not path.read_bytes().startswith((b"\x80\x02", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")), path
