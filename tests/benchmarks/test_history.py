"""The history on a few pages: what its page holds, that models are held to the same, and that nothing is run twice. Never a figure."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import history
import history_measured
import history_page
import ours
import pytest

from omnitune import Mistake, load
from omnitune.data.columns import Column
from omnitune.data.prepared import prepare
from omnitune.data.table import read as read_table
from omnitune.recipe import read

ROOT = Path(__file__).parents[2]
MODELS = ["BERT", "Transformer-XL", "GPT-2"]
SIZE = history.Size(1, 16, 32, 300, 32, documents=48, minutes=0.02, labelled=120, lr=2e-3)
SEEDS = 2


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two models with two seeds, through the command."""
    place = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNITUNE_CACHE", "")
        ours.own_cache(place)
        patch.setitem(history.SIZES, "test", SIZE)
        patch.setattr(history.warnings, "simplefilter", lambda *_: None)  # what the command silences fails tests
        history.main(words(place))
    return place


def words(place: Path) -> list[str]:
    return [*MODELS, "--size", "test", "--seeds", str(SEEDS), "--runs", f"{place}/runs", "--out", f"{place}/page.md"]


def whole(place: Path) -> Path:
    return place / "runs" / "test" / str(SIZE.documents)


def found(place: Path) -> history_page.Found:
    return history_page.collect(whole(place), list(history.MODELS))


def rows(page: str, start: str) -> list[list[str]]:
    """The cells of every line of the table below a heading."""
    part = page.split(start)[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")][2:]


def test_make_knows_the_command() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^history: install\n\t.*benchmarks/history\.py", made, re.MULTILINE)


@pytest.mark.slow
def test_the_page_has_every_row_with_its_interval(done: Path) -> None:
    page = (done / "page.md").read_text(encoding="utf-8")
    interval = r"[+-]?\d+\.\d{3} ± \d+\.\d{3}"
    language = rows(page, "## What they know of text")
    assert [row[0] for row in language] == MODELS
    for name, *cells in language:
        masked = name == "BERT"
        assert all(re.fullmatch("not comparable" if masked else interval, cells[i]) for i in (3, 5))
        assert all(re.fullmatch(interval + (" of hidden ones" if masked else ""), cells[i]) for i in (6, 7))
    memory = rows(page, "## What Transformer-XL makes of what came before")
    assert [row[0] for row in memory] == ["0", "64", "128", "256", "512"]
    assert all(re.fullmatch(interval, cell) for row in memory for cell in row[1:]) and memory[0][2] == "0.000 ± 0.000"
    labelled = rows(page, "## What it is worth on labelled reviews")
    assert [row[0] for row in labelled] == MODELS and all(len(row) == 9 for row in labelled)
    assert all(re.fullmatch(interval, cell) for row in labelled for cell in row[1:])
    assert all(row[4].startswith(("+", "-")) for row in labelled)
    for name in re.findall(r"\]\((\S+\.svg)\)", page):
        assert (done / name).read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert len(re.findall(r"\.svg\)", page)) == 2


@pytest.mark.slow
def test_the_figures_are_those_of_the_runs(done: Path) -> None:
    seeds = found(done)["GPT-2"]
    bits = [load(whole(done) / "GPT-2" / str(i) / "pretrained").report.value("language", "bits_per_byte") for i in range(SEEDS)]
    assert bits[0] != bits[1]
    mean, half = sum(bits) / 2, 12.706 * abs(bits[0] - bits[1]) / 2
    cells = rows((done / "page.md").read_text(encoding="utf-8"), "## What they know of text")[MODELS.index("GPT-2")]
    assert cells[4] == f"{mean:.3f} ± {half:.3f}"
    gain = [s.tuned.value("recommended", "auroc") - s.scratch.value("recommended", "auroc") for s in seeds]
    labelled = rows((done / "page.md").read_text(encoding="utf-8"), "## What it is worth on labelled reviews")[MODELS.index("GPT-2")]
    assert labelled[4].startswith(f"{sum(gain) / 2:+.3f} ±")


@pytest.mark.slow
def test_models_read_the_same_bytes_for_the_same_time(done: Path) -> None:
    pages = read_table(f"{history.TEXT}#{SIZE.documents}")
    everything = sum(len(text.encode()) for text in pages.take("text", range(len(pages))))
    read_by = {seed.measured["bytes"] for seeds in found(done).values() for seed in seeds}
    assert len(read_by) == 1 and 0.5 * everything < read_by.pop() < everything
    for name in MODELS:
        made = load(whole(done) / name / "0" / "pretrained")
        prepared = prepare(made.recipe)
        pieces = Column(prepared.table, "text", prepared.parts["train"])[:]
        assert sum(piece.bytes for piece in pieces) == found(done)[name][0].measured["bytes"], "every byte is asked for once"
        curves = found(done)[name][0].pretrained.curves
        assert curves[-1]["epoch"] == pytest.approx(1)
        timed = found(done)[name][0].timed.curves[-1]
        assert timed["seconds"] >= 60 * SIZE.minutes and timed["epoch"] < 500, "the clock ends it"


@pytest.mark.slow
def test_a_memory_of_the_length_of_training_is_what_the_report_measured(done: Path) -> None:
    made = load(whole(done) / "Transformer-XL" / "0" / "pretrained")
    prepared = prepare(made.recipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_measured, "LONGEST", 10_000)
        patch.setattr(history_measured, "MEMORIES", (0, SIZE.context))
        told = history_measured.by_memory(made, prepared)
    models = made.report.tasks["language"]["metrics"]["models"]
    wanted = {0: models["no memory"]["bits_per_byte"]["value"], SIZE.context: models["after"]["bits_per_byte"]["value"]}
    assert told["memory"] == pytest.approx(wanted, rel=1e-4)
    assert told["documents"] == len(prepared.sources()["test"]) and made.model.backbones["text"].model.config.eval_memory is None


@pytest.mark.slow
def test_what_is_finished_is_not_run_again(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command again, with one part and one measurement gone."""
    monkeypatch.setitem(history.SIZES, "test", SIZE)
    page, began = (done / "page.md").read_text(encoding="utf-8"), []
    real = history.fit

    def watched(recipe: Any, place: Path, resume: bool) -> Any:
        began.append((place.relative_to(whole(done)).as_posix(), resume))
        return real(recipe, place, resume=resume)

    monkeypatch.setattr(history, "fit", watched)
    monkeypatch.setattr(history.warnings, "simplefilter", lambda *_: None)
    history.main(words(done))
    assert not began and (done / "page.md").read_text(encoding="utf-8") == page
    lost = whole(done) / "GPT-2" / "1" / "measured.json"
    before = json.loads(lost.read_text(encoding="utf-8"))
    lost.unlink()
    (whole(done) / "GPT-2" / "1" / "scratch" / "lineage.json").unlink()
    assert len(found(done)["GPT-2"]) == 1, "a seed that is not whole is not on the page"
    history.main(words(done))
    assert began == [("GPT-2/1/scratch", True)] and json.loads(lost.read_text(encoding="utf-8")) == before


def test_runs_of_other_settings_do_not_get_onto_a_page(tmp_path: Path) -> None:
    history.same(SIZE, tmp_path / "there")
    history.same(SIZE, tmp_path / "there")
    with pytest.raises(Mistake, match=r"there: holds runs of another minutes, text\. Give another folder by --runs"):
        history.same(replace(SIZE, minutes=1.0, text="manuals/"), tmp_path / "there")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_models_hold_about_as_many_weights(name: str) -> None:
    size = history.SIZES[name]
    counted = {}
    for model, entry in history.MODELS.items():
        text = {"kind": "text", "backbone": history.backbone(model, size), "max_tokens": size.context, "pieces": True}
        tasks = {"language": {"kind": entry.task, "of": "text"}}
        made: Any = read({"data": {"from": f"{history.TEXT}#{size.documents}"}, "inputs": {"text": text}, "tasks": tasks})
        table = read_table(made.data.source)
        facts = made.inputs["text"].learn(Column(table, "text", range(len(table))))
        encoder = made.inputs["text"].backbone.encoder(facts)
        assert encoder.model.config.vocab_size == size.vocabulary
        counted[model] = sum(p.numel() for p in encoder.parameters())
    assert len(counted) == 6
    for model, weights in counted.items():
        assert weights == pytest.approx(counted["GPT-2"], rel=0.05), model


def test_the_bands_of_gpt3_are_shorter_than_its_context() -> None:
    for size in history.SIZES.values():
        assert history.backbone("GPT-3", size)["window"] < size.context, "else it is GPT-2"


def test_a_model_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        history.main(["GPT-5"])
    assert "no model called 'GPT-5'; there are GPT-1, BERT" in capsys.readouterr().err


def test_intervals_are_students() -> None:
    assert history_page.mean([1.0, 2.0, 3.0]) == "2.000 ± 2.484"
    assert history_page.mean([1.0]) == "1.000" and history_page.mean([0.5, 0.5], sign="+") == "+0.500 ± 0.000"
