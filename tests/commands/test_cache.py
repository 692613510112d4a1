import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from omnitune.cli import app
from omnitune.data.store import Store, folder


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["cache", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_what_is_kept_is_listed_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    assert run() == f"nothing in {tmp_path / 'kept'}\n"
    made = Store(folder() / "abc", {"holds": "activations", "about": "sample:minilm-l6: the first 4 of 6 blocks"})
    made.write([b"k" * 16], [np.zeros(500_000, np.float32)])
    made.close()
    listed = json.loads(run("--json"))
    assert [(one["name"], one["megabytes"]) for one in listed] == [("abc", 2.0)]
    assert "sample:minilm-l6: the first 4 of 6 blocks" in run()
    assert "freed 2.0 MB" in run("--empty")
    assert json.loads(run("--json")) == [] and not folder().exists()
