import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnitune.cli import app
from omnitune.samples import SAMPLES


def run(*words: str):
    return CliRunner().invoke(app, ["samples", *words])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds one sample."""
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    place = tmp_path / "samples" / "women-reviews"
    place.mkdir(parents=True)
    (place / "README.md").write_text("# women-reviews\n\n- Licence: CC0-1.0\n")
    return place


def test_the_list_says_what_is_here_and_under_which_licence(cache: Path) -> None:
    listed = {sample["name"]: sample for sample in json.loads(run("list", "--json").stdout)}
    assert set(listed) == set(SAMPLES)
    assert [name for name, sample in listed.items() if sample["here"]] == ["women-reviews"]
    assert all(sample["licence"] and sample["about"] for sample in listed.values())
    assert "women-reviews  (table, here, CC0-1.0)" in run("list").stdout


def test_what_is_here_is_given_without_fetching(cache: Path) -> None:
    assert run("path", "women-reviews").stdout.strip() == str(cache)
    assert "Licence: CC0-1.0" in run("get", "women-reviews").stdout


def test_an_unknown_sample_is_a_mistake(cache: Path) -> None:
    done = run("get", "women-review")
    assert done.exit_code == 2 and "Did you mean 'women-reviews'" in done.stderr
