"""Rows that a model wrote: filtered by a run, marked, in the training part alone, and measured against that run."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

import moods
from checkpoints import tiny_bert, tiny_distilbert, tiny_llama
from omnitune import Artifact, Mistake, Sampling, augment, fit, load
from omnitune.cli import app
from omnitune.commands._sources import Sources
from omnitune.commands._writers import Prompting
from omnitune.data.prepared import prepare
from omnitune.evaluation.compare import compare
from omnitune.evaluation.document import document
from omnitune.evaluation.rows import facts as rows_facts
from omnitune.evaluation.synthetic import compared, doubts
from omnitune.recipe import read
from omnitune.training.filling import Filling
from runs import ready, write_csv

Made = dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, a run that tells moods apart, and one that writes."""
    folder = tmp_path_factory.mktemp("augment")
    table = write_csv(folder / "moods.csv", moods.rows())
    fit(moods.telling(table), folder / "run")
    fit(moods.writing(table), folder / "writer")
    return folder


@pytest.fixture(scope="module")
def written(home: Path) -> Made:
    """What the command line wrote, as it told it."""
    done = CliRunner().invoke(
        app, ["augment", str(home / "run"), "--writer", str(home / "writer"), "--way", "back_generate", "--out", str(home / "more.parquet"),
              "--keep", "0.7", "--rows", "120", "--seed", "1", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def grown(home: Path, written: Made) -> Artifact:
    return fit(moods.telling(home / "moods.csv", f"data.synthetic={home / 'more.parquet'}"), home / "grown")


def kept(home: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(home / "more.parquet").to_pylist()
    return rows


def test_rows_are_written_from_training_rows_and_kept_where_the_run_sees_their_mood(home: Path, written: Made) -> None:
    rows, table, run = kept(home), moods.rows(), load(home / "run")
    _, prepared = ready(run.recipe)
    assert written["written"] == 120 == written["kept"] + sum(written["dropped"].values())
    assert len(rows) == written["kept"] == sum(written["classes"]["mood"].values()) > 20
    assert {row["source_row"] for row in rows} <= set(prepared.parts["train"].tolist())
    texts = [row["text"] for row in rows]
    assert len(set(texts)) == len(texts) and not set(texts) & {row["text"] for row in table}
    for row, said in zip(rows, run.predict(rows), strict=True):
        assert row["synthetic"] is True and row["mood"] == table[row["source_row"]]["mood"] and "thing" not in row
        assert row["probability"] == pytest.approx(said["mood"]["probabilities"][row["mood"]], abs=1e-4) and row["probability"] >= 0.7
    assert written["dropped"]["known"] + written["dropped"]["repeated"] > 0


def test_the_file_says_how_it_was_made(home: Path, written: Made) -> None:
    about = json.loads(pq.read_schema(home / "more.parquet").metadata[b"omnitune"])
    assert about["run"] == str((home / "run").resolve()) and about["writer"] == str(home / "writer") and about["way"] == "back_generate"
    assert (about["written"], about["kept"], about["dropped"], about["keep"]) == (120, written["kept"], written["dropped"], 0.7)


def test_a_seed_gives_the_same_rows_and_another_others(home: Path, written: Made, tmp_path: Path) -> None:
    def texts(seed: int) -> list[str]:
        out = tmp_path / f"{seed}-{len(list(tmp_path.iterdir()))}.jsonl"
        augment(home / "run", home / "writer", out, "back_generate", rows=20, keep=0.0, sampling=Sampling(100, 1.0, seed=seed))
        return [json.loads(line)["text"] for line in out.read_text(encoding="utf-8").splitlines()]

    assert texts(3) == texts(3) != texts(4)


def test_they_join_the_training_part_alone(home: Path, grown: Artifact) -> None:
    _, without = ready(load(home / "run").recipe)
    _, prepared = ready(grown.recipe)
    assert all((prepared.parts[part] == without.parts[part]).all() for part in ("validation", "test"))
    assert len(prepared.parts["train"]) == len(without.parts["train"]) + len(kept(home))
    assert (prepared.real().parts["train"] == without.parts["train"]).all()
    found = grown.report.data["synthetic"]
    assert found["rows"] == {"train": len(kept(home)), "validation": 0, "test": 0} and found["left_out"] == 0
    base, here = (run.report.tasks["mood"]["metrics"]["models"] for run in (load(home / "run"), grown))
    for rival in ("constant", "simple"):
        assert base[rival] == here[rival]  # which learn from the real rows alone
    assert [one["where"] for one in grown.report.warnings if one["name"] == "synthetic"] == ["data.synthetic"]


def test_the_report_says_whether_they_helped(home: Path, grown: Artifact) -> None:
    found, paired = grown.report.tasks["mood"]["synthetic"], compare(home / "run", grown.path)["tasks"]["mood"]
    assert found["metrics"]["differences"]["without"] == paired["metrics"]["differences"]["a"]
    assert found["metrics"]["subject"] == "with" and found["shared"] == paired["shared"] and not found["only_a"]
    assert "steps against" in grown.report.data["synthetic"]["note"] and "also differ" not in grown.report.data["synthetic"]["note"]
    document, page = ((grown.path / name).read_text(encoding="utf-8") for name in ("report.md", "report.html"))
    assert "## Synthetic rows" in document and "with - without" in document and "Synthetic rows" in page and "with - without" in page
    card = (grown.path / "README.md").read_text(encoding="utf-8")
    assert "were written by writer (back_generate), and kept by run" in card and str(home) not in card
    assert load(grown.path).predict({"text": "a lovely coat of shop 3"})["mood"]["value"] in moods.WORDS
    assert grown.rounding()["mood"].rows  # the test rows are found again


def test_where_the_run_that_filtered_is_gone_or_another_that_is_said(home: Path, grown: Artifact, tmp_path: Path) -> None:
    def noted(**about: str) -> tuple[str, str]:
        """What is noted where the file says so of its run, and the report as a page."""
        synthetic = {name: value for name, value in (grown.report.data["synthetic"] | about).items() if value != ""}
        task = {name: value for name, value in grown.report.tasks["mood"].items() if name != "synthetic"}
        report = compared(replace(grown.report, tasks={"mood": task}, data=dict(grown.report.data) | {"synthetic": synthetic}), grown.path)
        assert ("synthetic" in report.tasks["mood"]) == (not about)
        return report.data["synthetic"]["note"], document(report)

    assert noted()[0] == grown.report.data["synthetic"]["note"]
    gone, page = noted(run=str(tmp_path / "run"))
    assert gone == "Whether they helped was not measured: run: the run that filtered them is not there any more" and gone in page
    assert "writer: is another run than the one that filtered them" in noted(run=str(home / "writer"))[0]
    assert "more.parquet: does not say which run filtered it" in noted(run="")[0]


def test_a_writer_that_learned_held_out_texts_is_refused(home: Path, tmp_path: Path) -> None:
    writer = load(home / "writer")
    careless = replace(writer, recipe=writer.recipe.replace(data=writer.recipe.data.replace(by=("id",))))
    with pytest.raises(Mistake, match=r"texts of validation and test rows taught it. Train it .* data.by: \[text\]"):
        augment(home / "run", careless, tmp_path / "more.parquet", "back_generate")
    assert not (tmp_path / "more.parquet").exists()
    away, told = replace(writer, recipe=writer.recipe.replace(data=writer.recipe.data.replace(source=str(home / "moved.csv")))), list[str]()
    augment(home / "run", away, tmp_path / "more.parquet", "back_generate", rows=3, keep=0.0, tell=told.append)
    assert told == ["The rows that taught writer are not at hand, so texts of validation and test rows may be among them"]


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that was never taught to write, with a chat template."""
    folder = tmp_path_factory.mktemp("chatty") / "llama"
    shutil.copytree(tiny_llama(), folder)
    turn = "{{ '<' + message['role'] + '>' + message['content'] + eos_token }}"
    template = "{% for message in messages %}" + turn + "{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def test_a_checkpoint_paraphrases_by_a_prompt_that_names_the_text(home: Path, chatty: Path, tmp_path: Path) -> None:
    told: list[str] = []
    out = tmp_path / "more.parquet"
    found = augment(home / "run", chatty, out, "paraphrase", rows=30, keep=0.0, prompt="Again: {text}", tell=told.append)
    assert told == ["What llama learned from is not known, so texts of validation and test rows may be among it"]
    rows = pq.read_table(out).to_pylist()
    assert len(rows) == found.kept > 10 and all(row["text"].strip() for row in rows)
    with pytest.raises(Mistake, match=r"--prompt: .*llama has no prompt of its own"):
        augment(home / "run", chatty, tmp_path / "none.parquet", "paraphrase")
    (doubt,) = doubts(rows_facts(prepare(moods.telling(home / "moods.csv", f"data.synthetic={out}"))))
    assert "What llama learned from is not known" in doubt["text"] and f"{len(rows)} of " in doubt["text"]


def test_what_a_checkpoint_is_asked_is_what_its_chat_template_says(home: Path, chatty: Path) -> None:
    sources = Sources(load(home / "run"))
    tokenizer = AutoTokenizer.from_pretrained(chatty)
    writing = Prompting(chatty, "Again: {text}", sources, named=True).writing
    text = moods.rows()[sources.rows[0]]["text"]
    asked = writing.prompts.read([{"text": text}], [None])[0].ids
    assert tokenizer.decode(asked) == f"<user>Again: {text}<|endoftext|><assistant>"
    texts = [row["text"] for i, row in enumerate(moods.rows()) if i in sources.rows]
    assert (
        writing.free == max(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]) + 1
    )  # as long as training texts, and an end


def test_hidden_words_are_filled_and_all_else_stays(home: Path, tmp_path: Path) -> None:
    found = augment(home / "run", tiny_bert(), tmp_path / "more.parquet", "mask_fill", rows=60, keep=0.0, share=0.4)
    table, rows = moods.rows(), pq.read_table(tmp_path / "more.parquet").to_pylist()
    assert len(rows) == found.kept > 20
    for row in rows:
        before, after = table[row["source_row"]]["text"].split(), row["text"].split()
        assert len(before) == len(after)
        changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        assert 1 <= len(changed) <= 3 and all(old.isalpha() and new.isalpha() for old, new in changed)
        assert after[-1] == before[-1]  # a number is no word of letters


def test_a_run_that_knows_hidden_words_fills_them_as_it_learned(home: Path, tmp_path: Path) -> None:
    bert = {"kind": "bert", "depth": 1, "width": 32, "heads": 2, "context": 32, "vocabulary": 300}
    values = {
        "data": {"from": str(home / "moods.csv"), "split": [0.6, 0.15, 0.25]},
        "inputs": {"text": {"kind": "text", "backbone": bert, "max_tokens": 32}},
        "tasks": {"words": {"kind": "masked_text", "of": "text", "share": 0.3}},
        "train": {"epochs": 12, "batch": 8, "lr": 5e-3},
    }
    writer = fit(read(values), tmp_path / "masked")
    filling = Filling(writer.model, writer.recipe, writer.schema, "words", 0.01)  # of so few words one
    text = "a lovely dress of shop 7"
    made = [filling([text], Sampling(temperature=0, seed=seed))[0].split() for seed in range(12)]
    for place, fit_in in enumerate((["a"], moods.WORDS["glad"] + moods.WORDS["sad"], moods.THINGS, ["of"], ["shop"], ["7"])):
        assert {words[place] for words in made} <= {*fit_in}  # it says what belongs there
    drawn = Sampling(temperature=3.0, seed=1)
    assert filling([text, "", "7 8"], drawn) == [*filling([text], drawn), "", "7 8"]
    odd = "A dress,  (a  shop of)!\n"
    for seed in range(6):
        (filled,) = filling([odd], Sampling(temperature=3.0, seed=seed))
        assert re.sub(r"\w+", "w", filled) == re.sub(r"\w+", "w", odd) and filled[:1].isupper() and filled[1:].islower()
    with pytest.raises(Mistake, match="comes without the layers that say hidden words"):
        augment(home / "run", tiny_distilbert(), tmp_path / "more.parquet", "mask_fill")


def test_what_cannot_be_meant_is_said_before_anything_is_written(home: Path, tmp_path: Path) -> None:
    run, writer, out = home / "run", home / "writer", tmp_path / "more.parquet"
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("--prompt: does not name 'text'", {"way": "paraphrase"}),
        ("--prompt: names 'text', which is to be written", {"way": "back_generate", "prompt": "{text} again:"}),
        ("has no column 'moood'. Did you mean 'mood'", {"way": "back_generate", "prompt": "{moood}:"}),
        ("--share: back_generate hides no words", {"way": "back_generate", "share": 0.2}),
        ("--prompt: mask_fill asks nothing", {"way": "mask_fill", "prompt": "{mood}"}),
        ("--way: there is no way 'mask'. Did you mean 'mask_fill'", {"way": "mask"}),
        ("1.5 is no probability", {"way": "back_generate", "keep": 1.5}),
        ("0 is no number of texts", {"way": "back_generate", "rows": 0}),
        ("input 'thing': is no text input", {"way": "back_generate", "of": "thing"}),
    ]
    for message, given in wrong:
        with pytest.raises(Mistake, match=message):
            augment(run, writer, out, **given)
    with pytest.raises(Mistake, match=r"no format ends in '.csv'"):
        augment(run, writer, tmp_path / "more.csv", "back_generate")
    with pytest.raises(Mistake, match="tells classes apart"):
        augment(writer, writer, out, "back_generate")
    with pytest.raises(Mistake, match="none of 5 texts is kept: "):
        augment(run, writer, out, "back_generate", rows=5, keep=1.0, sampling=Sampling(3))
    assert not list(tmp_path.iterdir())
