"""Every recipe that is shipped is right, says how to run it, and runs: on a small made-up table with the same columns and tiny backbones."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import checkpoints
from omnitune import artifact, recipe, yaml_files
from omnitune.commands.fit import fit
from omnitune.recipe import Recipe

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(FOLDER.rglob("*.yaml"))
TINY = {"text": checkpoints.tiny_bert, "image": checkpoints.tiny_vit, "audio": checkpoints.tiny_whisper}
BLOCKS = 3
"""Of a tiny backbone."""
ROWS = 60


@pytest.fixture(params=RECIPES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param  # type: ignore[no-any-return]


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 5


def test_recipes_are_read_without_torch() -> None:
    code = """
import sys
from omnitune import recipe
for path in sys.argv[1:]:
    made = recipe.read(path)
    assert recipe.read(made.to_dict()) == made, path
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, *map(str, RECIPES)], check=True, timeout=60)


def test_it_opens_with_its_command_and_says_how_long_it_takes(path: Path) -> None:
    first, *rest = path.read_text().splitlines()
    assert first == f"# omnitune fit recipes/{path.relative_to(FOLDER)} --out runs/{path.stem}"
    comment = " ".join(line for line in rest if line.startswith("#"))
    assert "->" in comment, "says what it makes of what"
    assert "minute" in comment, "says how long it takes"


def small(path: Path) -> Recipe:
    """The recipe with tiny backbones, one epoch, and rows of its inputs' and tasks' own examples."""
    values = yaml_files.read(path)
    values.pop("expect", None)
    written = {task["of"] for task in values["tasks"].values() if isinstance(task, dict) and task["kind"] == "generate"}
    spoken = {task["of"] for task in values["tasks"].values() if isinstance(task, dict) and task["kind"] == "transcribe"}
    for name, given in values["inputs"].items():
        if isinstance(given, dict) and isinstance(given.get("backbone"), str):
            writes = checkpoints.tiny_llama if name in written else checkpoints.tiny_speaker if name in spoken else TINY[given["kind"]]
            given["backbone"] = str(writes())
            given.pop("max_seconds", None)  # of which it hears one
        if isinstance(given, dict):
            given.pop("items", None)  # a table of the recipe's own items, which no example is
            given.pop("time", None)  # a column that no example is
    if isinstance(values.get("tuning"), dict) and "blocks" in values["tuning"]:
        values["tuning"]["blocks"] = min(values["tuning"]["blocks"], BLOCKS)
    train = values.get("train", {}) | {"epochs": 1}
    train.pop("minutes", None)
    made = recipe.read(values | {"train": train})
    return made.replace(data=made.data.replace(source=source(made)))


def source(made: Recipe) -> Any:
    """Rows, or a data set with parts where the recipe wants those that are given."""
    rng = np.random.default_rng(0)
    columns = {made.column(name): modality.example(ROWS, rng) for name, modality in made.inputs.items()}
    for task in made.tasks.values():
        columns |= task.example(ROWS, rng)
    columns |= {named: list(range(ROWS)) for named in {*made.columns, *made.data.by} - columns.keys()}  # named by prompts or the split
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if made.data.split != "given":
        return rows
    from datasets import Dataset, DatasetDict

    return DatasetDict(train=Dataset.from_list(rows[:45]), test=Dataset.from_list(rows[45:]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:datasets", "ignore::DeprecationWarning:dill")
def test_its_small_variant_runs(path: Path, tmp_path: Path) -> None:
    made = small(path)
    done = fit(made, tmp_path / "run")
    assert done.report.cost["steps"] > 0
    assert set(done.report.tasks) == set(made.tasks)
    for task in done.report.tasks.values():
        assert {"constant", "after"} <= set(task["metrics"]["models"] if "models" in task["metrics"] else task["metrics"])
    asked = {name for name, task in made.tasks.items() if task.answers or task.writes}
    if asked:
        answer = artifact.load(tmp_path / "run").predict(dict.fromkeys(made.columns, None))
        assert set(answer) == asked


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train and test, each with a folder of dark pictures, one of bright ones and one of striped ones."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for part, n in (("train", 32), ("test", 8)):
        for name in ("dark", "bright", "striped"):
            (folder / part / name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
                pixels[:: 1 if name == "bright" else 4 if name == "striped" else 99] += 190
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")
    return folder


@pytest.mark.slow
def test_the_vit_recipe_learns_a_folder_of_pictures(pictures: Path, tmp_path: Path) -> None:
    changes = [f"data.from={pictures}", "inputs.img.column=image", f"inputs.img.backbone={checkpoints.tiny_vit()}"]
    changes += ["train.lr=1e-3", "train.head_lr=1e-2"]  # random weights have farther to go than pretrained ones
    made = recipe.read(FOLDER / "gpu" / "vit_cifar10.yaml", changes)
    train, image = made.train, made.inputs["img"]
    assert (train.optimizer, train.batch, train.epochs, made.tuning.kind, made.data.split) == ("adamw", 16, 5, "full", "given")
    assert image.augment and image.flip and image.crop_scale == (0.08, 1.0)
    done = fit(made, tmp_path / "run")
    assert done.report.cost["steps"] == 5 * -(-len_of(done, "train") // 16)
    assert len_of(done, "test") == 24
    shutil.rmtree(pictures / "train")
    answers = done.predict([{"image": file.read_bytes()} for file in sorted((pictures / "test").glob("*/*.png"))])
    right = [answer["label"]["value"] == name for answer, name in zip(answers, sorted(["dark", "bright", "striped"] * 8), strict=True)]
    assert np.mean(right) >= 0.8


def len_of(done: artifact.Artifact, part: str) -> int:
    return done.schema.rows[part]
