import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from omnitune.backbones._tokenizer import fast_tokenizer, learn_tokenizer
from omnitune.cli import app
from omnitune.data import token_files
from omnitune.data.store import Store, folder
from omnitune.data.table import read
from omnitune.data.tokenised import Tokenised


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["cache", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_what_is_kept_is_listed_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    assert run() == f"nothing in {tmp_path}\n"
    made = Store(folder() / "abc", {"holds": "activations", "about": "sample:minilm-l6: the first 4 of 6 blocks"})
    made.write([b"k" * 16], [np.zeros(500_000, np.float32)])
    made.close()
    listed = json.loads(run("--json"))
    assert [(one["name"], one["megabytes"]) for one in listed] == [("abc", 2.0)]
    assert "sample:minilm-l6: the first 4 of 6 blocks" in run()
    assert "freed 2.0 MB" in run("--empty")
    assert json.loads(run("--json")) == [] and not folder().exists()


def test_token_files_are_among_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    texts = [{"text": f"text {i} " * 2000} for i in range(10)]
    tokenizer = fast_tokenizer(learn_tokenizer([row["text"] for row in texts], "bpe", 300), 128)
    made = Tokenised(read(texts, name="books.csv"), "text", np.arange(10), tokenizer)
    (one,) = json.loads(run("--json"))
    assert one["holds"] == "token files" and one["about"] == "books.csv, column text: 10 documents"
    assert one["megabytes"] == pytest.approx(made.total * 2 / 1e6, abs=0.06)
    assert "token files: books.csv" in run()
    assert "freed 0." in run("--empty") and not token_files.home().exists()
    assert run() == f"nothing in {tmp_path}\n"
