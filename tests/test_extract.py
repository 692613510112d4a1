"""Answers in texts through whole runs: found, or said not to be there, in windows; measured, saved, predicted; and what is wrong is said."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from checkpoints import tiny_bert, tiny_gpt2
from omnitune import Artifact, Extract, Mistake, compare, fit, load
from omnitune.data.prepared import prepare
from omnitune.modalities import _windows
from omnitune.modalities.text import Text
from omnitune.nn.quoted import SpanHead
from omnitune.nn.span_metrics import span_metrics
from omnitune.nn.tokens import Tokens, View
from omnitune.recipe import Recipe, read
from runs import ready

BERT = {"kind": "bert", "depth": 2, "width": 48, "heads": 2, "context": 64, "vocabulary": 300}
PLACES = ("here", "there", "home", "out", "up", "down")


def rows(n: int = 160, filler: int = 12) -> list[dict[str, Any]]:
    """Who is where; the question asks for one, and every fifth row does not say."""
    rng, made = np.random.default_rng(0), []
    for i in range(n):
        before, after = ("and so on " * int(k) for k in rng.integers(0, filler, 2))
        told = str(rng.choice(PLACES))
        known = i % 5 > 0
        text = f"{before}number {i} ran {told} {after}" if known else f"{before}number {i} sat {after}"
        made.append({"text": text, "who": str(i), "answer": told if known else ""})
    return made


def recipe(source: Any = None, *overrides: str, backbone: Any = None, max_tokens: int = 48, **task: Any) -> Recipe:
    asked = {"kind": "extract", "of": "text", "question": "Where is {who}?", "target": "answer", "overlap": 8} | task
    values = {
        "data": {"from": rows() if source is None else source},
        "inputs": {"text": {"kind": "text", "backbone": str(backbone) if backbone else BERT, "max_tokens": max_tokens}},
        "tasks": {"where": asked},
        "train": {"epochs": 12, "batch": 16, "lr": 3e-3, "head_lr": 1e-2},
    }
    return read(values, overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(), tmp_path_factory.mktemp("extract") / "run")


def test_it_learns_to_find_answers_and_says_how_much(trained: Artifact) -> None:
    task = trained.report.tasks["where"]
    models = task["metrics"]["models"]
    assert models["after"]["exact_span"]["value"] > 0.8 > models["constant"]["exact_span"]["value"]
    assert models["after"]["answerable"]["value"] > 0.8
    texts = task["written"]["metrics"]
    assert set(texts["models"]) == {"before", "after"} and set(texts["higher"]) == {"exact_match", "token_f1"}
    assert texts["models"]["after"]["exact_match"]["value"] >= models["after"]["exact_span"]["value"]
    assert trained.report.value("where", "token_f1") == texts["models"]["after"]["token_f1"]["value"]
    assert compare(trained.path, trained.path)["tasks"]["where"]["shared"] == task["metrics"]["rows"]


def test_predictions_are_words_with_their_place(trained: Artifact) -> None:
    some = rows()[:40]
    asked = [{"text": row["text"], "who": row["who"]} for row in some]
    answers = trained.predict(asked)
    assert sum((a["where"]["value"] or "") == row["answer"] for a, row in zip(answers, some, strict=True)) > 32
    for answer, row in zip(answers, some, strict=True):
        said = answer["where"]
        assert 0 < said["probability"] <= 1 and 0 <= said["no_answer"] <= 1
        assert said["value"] == (None if said["start"] is None else row["text"][said["start"] : said["stop"]])
    assert trained.predict(asked[7])["where"]["value"] == answers[7]["where"]["value"]
    assert load(trained.path).predict(asked) == answers
    assert trained.predict([asked[0] | {"text": None}])[0]["where"]["value"] is None


def test_windows_cover_a_text_and_overlap() -> None:
    made = Text(str(tiny_bert()), max_tokens=24)
    words = made._read_by(24, {})
    text = "and so it ran up and down " * 12
    (found,), (cut,) = _windows.windows(words, ["where is it?"], [text], 4)
    assert len(found) > 5 and not cut and all(len(one.ids) <= 24 for one in found)
    inside = [[span for span in one.spans if span[0] >= 0] for one in found]
    whole = words.plain.encode(text, add_special_tokens=False).offsets
    assert sorted({span for part in inside for span in part}) == [tuple(span) for span in whole], "every token is in some window"
    for one, other in itertools.pairwise(inside):
        assert one[-4:] == other[:4]
    assert all(one.ids[: len(found[0].ids) - len(inside[0]) - 1] == found[0].ids[: len(found[0].ids) - len(inside[0]) - 1] for one in found)


def test_tokens_of_bytes_stand_without_the_space_before_them() -> None:
    text = "number 3 ran  home\nand so on"
    ((found,),), _ = _windows.windows(Text(str(tiny_gpt2()), max_tokens=64)._read_by(64, {}), ["where?"], [text], 4)
    there = [text[start:stop] for start, stop in found.spans if stop > start >= 0]
    assert all(part == part.strip() for part in there) and "".join(there) == "".join(text.split())
    start = text.index("home")
    ((first, last),) = _windows.places(found.spans, [(start, start + 4)])
    assert (found.spans[first][0], found.spans[last][1]) == (start, start + 4)


def test_a_long_question_is_cut_and_a_text_of_one_window_is_one() -> None:
    words = Text(str(tiny_bert()), max_tokens=24)._read_by(24, {})
    (found,), (cut,) = _windows.windows(words, ["where " * 50], ["here"], 4)
    assert cut and len(found) == 1 and next(span for span in found[0].spans if span[0] >= 0)[0] == 0
    with pytest.raises(Mistake, match="no room for a question"):
        _windows.windows(Text(str(tiny_bert()), max_tokens=12)._read_by(12, {}), ["a"], ["b"], 2)


def test_an_answer_deep_in_a_long_text_is_found_in_its_window(trained: Artifact) -> None:
    text = "and so on " * 200 + "number 3 ran home " + "and so on " * 200
    said = trained.predict({"text": text, "who": "3"})["where"]
    if said["value"] is not None:
        assert text[said["start"] : said["stop"]] == said["value"]
    _, prepared = ready(recipe([{"text": text, "who": "3", "answer": "home"}, *rows(60)]))
    question = prepared.batches("train", 4, rows=np.array([0])).question(np.array([0]))
    batch, target = question.asked["where"]
    inputs = batch.inputs["text"]
    assert inputs["input_ids"].ndim == 3 and inputs["input_ids"].shape[1] > 10 and target["weight"] == 1
    start = text.index("home")
    assert target["y"][0, :2].tolist() == [start, start + 4]
    for first, last in inputs["pairs"][0].tolist():
        assert inputs["start"][0, first] <= start and inputs["stop"][0, last] >= start + 4


@torch.no_grad()
def test_probabilities_of_all_parts_and_of_no_answer_add_up() -> None:
    torch.manual_seed(0)
    head = SpanHead("x", 6, 3)
    torch.nn.init.normal_(head.ends.weight)
    W, L = 2, 5
    start = torch.tensor([[-1, 0, 2, 4, 6, -1, 4, 6, 8, 10]])
    stop = torch.where(start >= 0, start + 2, -1)
    inputs = {"input_ids": torch.zeros(1, W, L, dtype=torch.int64), "start": start, "stop": stop, "answered": torch.tensor([1])}
    view = View({"x": Tokens(torch.randn(1, W * L, 6), torch.ones(1, W * L, dtype=torch.bool))}, None, {"x": inputs})  # type: ignore[arg-type]
    first, last, nothing = head._scores(view)
    parts = {}
    for window in range(W):
        for i in range(L):
            for j in range(i, min(L, i + 3)):
                a, b = window * L + i, window * L + j
                if start[0, a] >= 0 and start[0, b] >= 0:
                    parts.setdefault((int(start[0, a]), int(stop[0, b])), []).append(first[0, a] + last[0, b])
    total = torch.cat([torch.stack([s for some in parts.values() for s in some]), nothing]).logsumexp(0)
    inputs["pairs"] = torch.tensor([[[3, 3], [6, 6]]])  # characters 4 to 6, which both windows hold
    wanted = total - torch.stack(parts[4, 6]).logsumexp(0)
    found = head.loss(view, {"weight": torch.ones(1)})
    torch.testing.assert_close(found.sum, wanted)
    best = max(parts, key=lambda span: float(max(parts[span])))
    said = head.predict(view)[0]
    assert tuple(said[:2].int().tolist()) == best
    torch.testing.assert_close(said[2], (torch.stack(parts[best]).logsumexp(0) - total).exp())
    torch.testing.assert_close(said[3], (nothing[0] - total).exp())
    inputs["answered"] = torch.tensor([0])
    torch.testing.assert_close(head.loss(view, {"weight": torch.ones(1)}).sum, total - nothing[0])


@torch.no_grad()
@pytest.mark.parametrize(("pool", "at"), [("first", (0, 3)), ("last", (1, 5))])
def test_no_answer_is_read_where_a_backbone_has_seen_the_window(pool: Any, at: tuple[int, int]) -> None:
    head, mask = SpanHead("x", 4, 3), torch.tensor([[True, True, False, True, True, True, False, False, False]])
    tokens = Tokens(torch.randn(1, 9, 4), mask, pool)
    inputs = {"input_ids": torch.zeros(1, 3, 3, dtype=torch.int64), "start": torch.zeros(1, 9), "stop": torch.ones(1, 9)}
    *_, nothing = head._scores(View({"x": tokens}, None, {"x": inputs}))  # type: ignore[arg-type]
    torch.testing.assert_close(nothing[0], head.ends(tokens.x_BLD[0, list(at)]).sum() / 2)


def test_figures_of_spans() -> None:
    y = np.array([[4, 8, 10, 14], [0, 0, 0, 0], [4, 8, 4, 8], [0, 0, 0, 0]], float)
    p = np.array([[10, 14, 0.9, 0.1], [3, 5, 0.4, 0.6], [6, 8, 0.7, 0.2], [1, 2, 0.9, 0.1]])
    found = {name: metric.compute(y, p) for name, metric in span_metrics().items()}
    assert found["exact_span"] == 0.5 and found["answerable"] == 0.75
    assert found["overlap"] == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)


@pytest.mark.parametrize(
    ("value", "start", "wanted"),
    [
        ("up", None, [(4, 6), (14, 16)]),
        ("up", 14, [(14, 16)]),
        (["up", "down"], None, [(4, 6), (14, 16), (7, 11)]),
        ({"text": ["up"], "answer_start": [14]}, None, [(14, 16)]),
        ({"text": [], "answer_start": []}, None, []),
        ("", None, []),
        ([], None, []),
        (None, None, None),
    ],
)
def test_how_answers_may_be_given(value: Any, start: Any, wanted: Any) -> None:
    task = Extract("text", "q", "answer", start="at")
    assert task.located(["ran up down ~ up"], {"answer": [value], "at": [start]}) == [wanted]
    if value is None:
        assert task.replace(missing="none").located(["x"], {"answer": [None], "at": [None]}) == [[]]


def test_an_unknown_answer_teaches_nothing() -> None:
    some = rows(60)
    for row in some[:40]:
        row["answer"] = None
    model, prepared = ready(recipe(some))
    question = prepared.batches("train", 60).question(prepared.parts["train"])
    loss = model.losses(question)["where"]
    assert loss.count == sum(some[i]["answer"] is not None for i in question.rows.tolist()) and loss.sum.isfinite()
    known = ready(recipe(some, missing="none"))
    assert known[0].losses(known[1].batches("train", 60).question(known[1].parts["train"]))["where"].count == len(known[1].parts["train"])


@pytest.mark.parametrize("missing", ["none", "unknown"])
def test_rows_that_hold_no_answer_are_learned_from(missing: str, tmp_path: Path) -> None:
    """In a file without types an empty cell is missing: only `none` says what that means."""
    lines = [f"{row['text']},{row['who']},{row['answer']}" for row in rows(40)]
    (tmp_path / "rows.csv").write_text("\n".join(["page,who,answer", *lines]))
    _, prepared = ready(recipe(str(tmp_path / "rows.csv"), "inputs.text.column=page", missing=missing))
    train = prepared.parts["train"]
    empty = [row for row in train.tolist() if row % 5 == 0]
    assert empty and set(prepared.answered) == set(train) - (set(empty) if missing == "unknown" else set())
    lists = [row | {"answer": [row["answer"]] if row["answer"] else []} for row in rows(40)]
    _, typed = ready(recipe(lists, missing=missing))
    assert len(typed.answered) == len(typed.parts["train"])


def test_a_task_beside_it_reads_the_text_as_it_is(tmp_path: Path) -> None:
    some = [row | {"known": bool(row["answer"])} for row in rows(60)]
    made = fit(recipe(some, "tasks.known={kind: classify, target: known}", "train.epochs=2"), tmp_path / "run")
    asked = [{"text": row["text"], "who": row["who"]} for row in some[:6]]
    assert load(made.path).predict(asked) == made.predict(asked)
    assert set(made.predict(asked)[0]) == {"where", "known"} and made.report.value("where", "token_f1") >= 0


def test_what_is_wrong_with_rows_is_said_at_once() -> None:
    some = [row | {"at": None} for row in rows(40)]
    some[1] |= {"answer": "nowhere"}
    some[2] |= {"at": 0}
    with pytest.raises(Mistake) as found:
        prepare(recipe(some, start="at"))
    for words in ("'nowhere' does not stand in its text", "does not stand at character 0 of its text, where", "2 rows cannot be read"):
        assert words in str(found.value)


@pytest.mark.parametrize(
    ("task", "words"),
    [({"question": "{who"}, "has no partner"), ({"question": "{wh}"}, "no column 'wh'"), ({"question": "{answer}"}, "must not hold its answer")],
)
def test_what_is_wrong_with_a_recipe_is_said(task: dict[str, Any], words: str) -> None:
    with pytest.raises(Mistake) as found:
        prepare(recipe(rows(20), **task))
    assert words in str(found.value)


def test_a_gpt_from_nothing_learns_to_find_them(tmp_path: Path) -> None:
    """Its tokens begin with white space, and only the last one of a window has seen all of it."""
    made = fit(recipe(rows(120), f"inputs.text.backbone={BERT | {'kind': 'gpt'}}", "train.epochs=10"), tmp_path / "run")
    assert made.report.value("where", "exact_span") > 0.8
    said = made.predict(rows(4)[3])["where"]
    assert said["value"] == rows(4)[3]["answer"]


@pytest.mark.parametrize(("folder", "tuning"), [(tiny_bert, "lora"), (tiny_gpt2, "full")], ids=["adapters", "gpt"])
def test_backbones_and_tunings(folder: Any, tuning: str, tmp_path: Path) -> None:
    some = rows(60)
    made = fit(recipe(some, "train.epochs=2", f"tuning={tuning}", backbone=folder()), tmp_path / "run")
    assert load(made.path).predict(some[:3]) == made.predict(some[:3])
