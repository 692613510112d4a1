"""What the documents say can be done is done here, and what they list is what there is."""

import importlib.util
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from omnitune.cli import app
from runs import language_recipe, rows, table_recipe, write_csv

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
GENERATE = (ROOT / "docs" / "how-to" / "generate.md").read_text(encoding="utf-8")
AUGMENT = (ROOT / "docs" / "how-to" / "augment.md").read_text(encoding="utf-8")
RETRIEVE = (ROOT / "docs" / "how-to" / "match-and-retrieve.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[list[str]]:
    lines = [line for block in blocks(text, "bash") for line in block.splitlines() if line.startswith("omnitune ")]
    return [shlex.split(re.sub(r"\s#.*", "", line))[1:] for line in lines]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the documents assume it, with small tables and recipes under the names they use."""
    table = [row | {"recommended": int(row["class"] == "high"), "text": None, "age": row["a"], "department": row["color"]} for row in rows(120)]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "reviews.parquet")
    write_csv(tmp_path / "new.csv", table[:5])
    (tmp_path / "recipes").mkdir()
    table_recipe(str(tmp_path / "reviews.parquet"), "train.epochs=1").write(tmp_path / "recipes" / "demo.yaml")
    (tmp_path / "recipes" / "demo-rows.jsonl").write_text('{"a": 1, "b": null, "color": "red"}\n')
    texts = [{"text": f"a {row['color']} dress, {row['class']} in price, number {row['id']}"} for row in table]
    language_recipe(texts, "train.epochs=1", f"data.from={write_csv(tmp_path / 'texts.csv', texts)}").write(
        tmp_path / "recipes" / "pretrain_gpt.yaml"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("text", [README, TUTORIAL], ids=["README", "tutorial"])
def test_every_command_runs(text: str, workplace: Path) -> None:
    found = commands(text)
    assert len(found) > 6
    for words in sorted(found, key=lambda words: words[0] != "fit"):
        if words[0] == "compare" and not (workplace / words[2]).exists():
            assert CliRunner().invoke(app, ["fit", "recipes/demo.yaml", "--out", words[2], "train.seed=1"]).exit_code == 0
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.output, done.stderr)


@pytest.mark.parametrize("text", [README, TUTORIAL, RETRIEVE, GENERATE, AUGMENT], ids=["README", "tutorial", "retrieve", "generate", "augment"])
def test_python_blocks_use_names_that_exist(text: str) -> None:
    import omnitune

    for block in blocks(text, "python"):
        compile(block, "block", "exec")
        for names in re.findall(r"from omnitune import (.+)", block):
            assert all(hasattr(omnitune, name.strip()) for name in names.split(","))


def test_commands_of_retrieval_have_the_options_that_are_shown() -> None:
    from test_public import COMMANDS

    found = commands(RETRIEVE)
    assert {words[0] for words in found} == {"index", "retrieve", "zero-shot"}
    for verb, *words in found:
        assert {word for word in words if word.startswith("-")} <= COMMANDS[verb]


def test_commands_that_write_have_the_options_that_are_shown() -> None:
    from test_public import COMMANDS

    for verb, *words in commands(GENERATE):
        shown = " ".join(words) + " --regex --json-schema --forbid --require --min-tokens --parses" * (verb == "predict")
        assert {word for word in shown.split() if word.startswith("-")} <= COMMANDS[verb]


def test_commands_that_augment_have_the_options_that_are_shown() -> None:
    from test_public import COMMANDS

    found = commands(AUGMENT)
    assert {words[0] for words in found} == {"augment", "fit", "compare"}
    for verb, *words in found:
        assert {word for word in words if word.startswith("--")} <= COMMANDS[verb]


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), (page, link)


def test_the_reference_is_what_the_components_say() -> None:
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs" / "generate_reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == module.page(), "run `make reference`"


def test_the_example_of_a_new_modality_works(tmp_path: Path) -> None:
    import numpy as np
    import torch

    code = blocks((ROOT / "docs" / "how-to" / "add-a-modality.md").read_text(encoding="utf-8"), "python")[0]
    (tmp_path / "duration.py").write_text(code)
    spec = importlib.util.spec_from_file_location("duration", tmp_path / "duration.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    duration = module.Duration()
    values = [*duration.example(3, np.random.default_rng(0)), None]
    facts = duration.learn(values)
    tokens = duration.encoder(facts)(duration.encode(values, facts))
    assert tokens.x_BLD.shape == (4, 1, 16) and tokens.mask_BL[:, 0].tolist() == [True, True, True, False]
    assert duration.kind == "duration" and duration.check("soon") and torch.isfinite(tokens.x_BLD).all()
