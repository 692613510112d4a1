"""A run killed at any moment goes on to the same bits."""

import csv
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omnitune.commands.fit import fit
from omnitune.errors import Mistake
from runs import language_recipe, rows, table_recipe, write_csv

pytestmark = pytest.mark.slow

KILL = Path(__file__).with_name("kill.py")
SAVE_OFTEN = ("train.save_minutes=0.00001", "train.epochs=3", "train.average=2", "fusion.dropout=0.1")


def session(recipe: Path, out: Path, where: str, n: int) -> int:
    done = subprocess.run([sys.executable, str(KILL), str(recipe), str(out), where, str(n)], capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def log(folder: Path) -> list[dict[str, str]]:
    """The log without what the clock says."""
    with (folder / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]


def figures(folder: Path) -> object:
    """The report without what the clock says."""
    tasks = json.loads((folder / "report.json").read_text())["tasks"]
    return json.dumps(tasks, sort_keys=True)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    made = table_recipe(str(write_csv(tmp_path / "table.csv", rows(300))), *SAVE_OFTEN)
    made.write(tmp_path / "recipe.yaml")
    return tmp_path / "recipe.yaml"


def test_a_run_killed_again_and_again_ends_with_the_same_bits(recipe: Path, tmp_path: Path) -> None:
    assert session(recipe, tmp_path / "whole", "never", 0) == 0
    steps = len(log(tmp_path / "whole"))
    rng = random.Random(0)
    kills = [("step", rng.randint(2, steps // 2)), ("write", rng.randint(2, 6)), ("step", rng.randint(steps // 2 + 4, steps - 2))]
    for where, n in kills:
        assert session(recipe, tmp_path / "cut", where, n) == -signal.SIGKILL
        assert (tmp_path / "cut").exists()
    assert session(recipe, tmp_path / "cut", "never", 0) == 0
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert log(tmp_path / "cut") == log(tmp_path / "whole")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    assert not list((tmp_path / "cut").glob("*resume*")), "the state to resume from is removed at the end"


def test_a_run_over_pieces_of_documents_goes_on_within_an_epoch(tmp_path: Path) -> None:
    """Full batches, token files and the learned tokenizer are the same again."""
    documents = tmp_path / "documents.jsonl"
    documents.write_text("\n".join(json.dumps({"text": f"item {i} " + "is soft and red " * (i * 7 % 40)}) for i in range(200)))
    made = language_recipe(str(documents), "inputs.text.pieces=true", "train.epochs=2", "train.save_minutes=0.00001")
    made.write(tmp_path / "recipe.yaml")
    assert session(tmp_path / "recipe.yaml", tmp_path / "whole", "never", 0) == 0
    steps = len(log(tmp_path / "whole"))
    assert steps > 20
    for where, n in [("step", steps // 3), ("write", 4), ("step", 2 * steps // 3 + 1)]:
        assert session(tmp_path / "recipe.yaml", tmp_path / "cut", where, n) == -signal.SIGKILL
    assert session(tmp_path / "recipe.yaml", tmp_path / "cut", "never", 0) == 0
    for name in ("model.safetensors", "inputs/text_/model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert log(tmp_path / "cut") == log(tmp_path / "whole")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


def test_a_signal_saves_and_stops_and_the_run_goes_on(tmp_path: Path) -> None:
    import os

    made = table_recipe(rows(300), *SAVE_OFTEN)
    whole = fit(made, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(made, tmp_path / "cut", watch=lambda step: os.kill(os.getpid(), signal.SIGINT) if step.step == 5 else None)
    assert log(tmp_path / "cut")[-1]["step"] == "5", "the step under way is finished and saved"
    with pytest.raises(SystemExit) as stopped:
        fit(made, tmp_path / "cut", resume=True, watch=lambda step: os.kill(os.getpid(), signal.SIGTERM) if step.step == 9 else None)
    assert stopped.value.code == 143
    cut = fit(made, tmp_path / "cut", resume=True)
    assert log(cut.path) == log(whole.path)
    assert (cut.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_resuming_with_another_recipe_or_other_data_is_refused(tmp_path: Path) -> None:
    def stop(step):
        raise KeyboardInterrupt

    for first, second, says in [
        (table_recipe(rows(100), *SAVE_OFTEN), table_recipe(rows(100), *SAVE_OFTEN, "train.lr=0.1"), "another recipe"),
        (table_recipe(rows(100), *SAVE_OFTEN), table_recipe(rows(101), *SAVE_OFTEN), "another table"),
    ]:
        folder = tmp_path / says.replace(" ", "-")
        with pytest.raises(KeyboardInterrupt):
            fit(first, folder, watch=lambda step: stop(step) if step.step == 3 else None)
        before = (folder / "recipe.yaml").read_bytes()
        with pytest.raises(Mistake, match=says):
            fit(second, folder, resume=True)
        assert (folder / "recipe.yaml").read_bytes() == before


def test_a_finished_run_is_not_given_for_another(tmp_path: Path) -> None:
    asked = table_recipe(rows(100), "train.epochs=1")
    done = fit(asked, tmp_path / "run")
    assert fit(asked, tmp_path / "run", resume=True).lineage == done.lineage
    with pytest.raises(Mistake, match=r"another recipe: it differs in train"):
        fit(table_recipe(rows(100), "train.epochs=2"), tmp_path / "run", resume=True)
    with pytest.raises(Mistake, match="another state of the table"):
        fit(table_recipe(rows(101), "train.epochs=1"), tmp_path / "run", resume=True)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "resume.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{broken")
    with pytest.raises(Mistake, match="damaged"):
        fit(table_recipe(rows(100)), folder, resume=True)


def test_a_folder_that_holds_something_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Mistake, match=r"not empty.*--resume"):
        fit(table_recipe(rows(60)), tmp_path)
    with pytest.raises(Mistake, match="nothing to resume"):
        fit(table_recipe(rows(60)), tmp_path / "nowhere", resume=True)
