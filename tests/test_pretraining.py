"""Documents longer than the context, in pieces, through the whole loop: the same losses, full batches, measured by document."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoTokenizer

import checkpoints
from omnitune import Artifact, Mistake, compare, fit
from omnitune.data import table
from omnitune.data.prepared import Prepared, prepare
from omnitune.data.table import Table
from omnitune.evaluation import stored
from omnitune.evaluation.answers import answer
from omnitune.recipe import Recipe, read
from omnitune.training.model import Model
from runs import ready

WORDS = ["soft", "tight", "lovely", "red", "blue", "warm", "cheap", "thin", "small", "large", "naïve", "größer"]
LANGUAGE = {"language": {"kind": "generate", "of": "text"}}
MOOD = {"mood": {"kind": "classify", "target": "mood"}}


def documents(n: int = 160) -> list[dict[str, Any]]:
    """Documents of a few words to a few hundred, some of them there twice, some missing."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(3.0, 1.0, n).astype(int) + 1
    rows = [{"text": f"item {i} is {' and '.join(rng.choice(WORDS, lengths[i]))}.", "mood": "ab"[i % 2], "page": i} for i in range(n)]
    rows[3]["text"] = None
    return [*rows, *({**row, "page": n + i} for i, row in enumerate(rows[10:20]))]


def recipe(limit: int = 16, tasks: Any = LANGUAGE, pieces: bool = True, backbone: Any = None, source: Any = None, **train: Any) -> Recipe:
    gpt = {"kind": "gpt", "generation": "gpt2", "depth": 2, "width": 32, "heads": 2, "context": max(limit, 16), "vocabulary": 300}
    text = {"kind": "text", "backbone": backbone or gpt, "max_tokens": limit, "pieces": pieces}
    settings = {"epochs": 2, "batch": 8, "lr": 3e-3} | train
    return read({"data": {"from": source or documents()}, "inputs": {"text": text}, "tasks": tasks, "train": settings})


def costs(model: Model, prepared: Prepared, part: str) -> dict[int, list[float]]:
    """Of each document of a part: nats, tokens asked for, bytes."""
    found = answer(model, prepared.batches(part, 8), "float32")["language"]
    sums: dict[int, list[float]] = {}
    for row, p, y in zip(prepared.table.origin(found.rows).tolist(), found.p.tolist(), found.y.tolist(), strict=True):
        so_far = sums.setdefault(row, [0.0, 0.0, 0.0])
        sums[row] = [so_far[0] + p[0], so_far[1] + y[0], so_far[2] + y[1]]
    return sums


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "documents.jsonl").write_text("\n".join(map(json.dumps, documents())))
    return fit(recipe(tasks=LANGUAGE | MOOD, source=str(folder / "documents.jsonl")), folder / "run")


def test_documents_that_fit_cost_what_they_cost_whole() -> None:
    short = [{**row, "text": row["text"] and row["text"][:90]} for row in documents()]
    model, whole = ready(recipe(128, pieces=False, source=short))
    in_pieces = prepare(recipe(128, source=short))
    assert all(len(whole.parts[part]) == len(in_pieces.parts[part]) for part in whole.parts)
    wanted, found = costs(model, whole, "train"), costs(model, in_pieces, "train")
    assert wanted.keys() == found.keys()
    for row in wanted:
        assert found[row] == pytest.approx(wanted[row], rel=1e-5)


def test_pieces_in_one_batch_do_not_see_each_other() -> None:
    model, prepared = ready(recipe())
    batches = prepared.batches("train", 8, seed=0)
    rows = batches.order(0)[0]
    model.eval()
    with torch.no_grad():
        together = model.losses(batches.question(rows))["language"]
        apart = [model.losses(batches.question(rows[[i]]))["language"] for i in range(len(rows))]
    assert float(together.count) == sum(float(one.count) for one in apart) > 100
    assert float(together.sum) == pytest.approx(sum(float(one.sum) for one in apart), rel=1e-5)


def test_every_batch_is_full_and_every_epoch_as_long() -> None:
    _, prepared = ready(recipe())
    batches = prepared.batches("train", 8, seed=0)
    sizes = prepared.table.pieces.sizes  # type: ignore[union-attr]
    for epoch in range(3):
        order = batches.order(epoch)
        assert len(order) == len(batches)
        assert sorted(np.concatenate(order).tolist()) == prepared.parts["train"].tolist()
        assert max(sizes[rows].sum() for rows in order) <= 8 * 16
    assert sizes[prepared.parts["train"]].sum() > 0.97 * 8 * 16 * (len(batches) - 1)
    whole = [question.rows.tolist() for question in batches.epoch(1)]
    assert [question.rows.tolist() for question in batches.epoch(1, 5)] == whole[5:] == [rows.tolist() for rows in batches.order(1)[5:]]
    question = batches.question(batches.order(0)[0])
    parts = list(question.parts(2))
    assert np.concatenate([part.rows for part in parts]).tolist() == question.rows.tolist()
    assert max(int(part.asked["language"][0].inputs["text"]["attention_mask"].sum()) for part in parts) <= 2 * 16


def test_accumulated_gradients_equal_those_of_the_large_batch(tmp_path: Path) -> None:
    states = []
    for micro in (8, 2):
        made = fit(recipe(epochs=1, optimizer="sgd", micro_batch=micro), tmp_path / str(micro))
        states.append(made.model.state_dict())
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-4, atol=1e-5)


def test_transformers_measures_the_same_piece_by_piece(tmp_path: Path) -> None:
    made = fit(recipe(), tmp_path / "run")
    folder = tmp_path / "run" / "inputs" / "text_"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    prepared = prepare(made.recipe.replace(data=made.recipe.data.replace(source=documents())))
    nats, bytes_ = 0.0, 0
    for row in prepared.sources()["test"].tolist():
        text = documents()[row]["text"]
        ids = tokenizer(text or "").input_ids if text is not None else []
        bytes_ += len((text or "").encode())
        for start in range(0, len(ids) - 1, 16):
            piece = torch.tensor(ids[start : start + 17])
            with torch.no_grad():
                logits = model(piece[None, :-1]).logits[0]
            nats += float(torch.nn.functional.cross_entropy(logits, piece[1:], reduction="sum"))
    assert made.report.value("language", "bits_per_byte") == pytest.approx(nats / bytes_ / math.log(2), rel=1e-4)


def test_a_report_counts_documents_and_measures_by_them(trained: Artifact) -> None:
    data, tasks = trained.report.data, trained.report.tasks
    assert data["equal_documents_left_out"] == 10 and sum(data["documents"].values()) == 160
    assert sum(data["rows"].values()) > 300 and data["rows"] == trained.schema.rows
    assert any(one["name"] == "equal" and one["text"].startswith("10 documents say") for one in trained.report.warnings)
    assert tasks["mood"]["metrics"]["rows"] == data["documents"]["test"]
    assert tasks["language"]["metrics"]["rows"] in (data["documents"]["test"], data["documents"]["test"] - 1)
    assert sum(data["classes"]["mood"]["train"].values()) == data["documents"]["train"]
    assert "| documents |" in (trained.path / "report.md").read_text()


def test_what_is_measured_is_what_is_predicted(trained: Artifact) -> None:
    measured = stored.read(trained.path)["mood"]
    said = trained.predict([documents()[row] for row in measured.predictions.rows.tolist()])
    for answer_, p in zip(said, measured.predictions.p, strict=True):
        assert list(answer_["mood"]["probabilities"].values()) == pytest.approx(p.tolist(), abs=1e-5)
    assert trained.rounding()["mood"].rows == len(measured.predictions.rows)


def test_runs_of_other_contexts_are_compared_document_by_document(trained: Artifact, tmp_path: Path) -> None:
    other = fit(recipe(48), tmp_path / "run")
    found = compare(trained.path, other.path)["tasks"]["language"]
    assert found["shared"] == found["metrics"]["rows"] == trained.report.tasks["language"]["metrics"]["rows"]
    assert found["only_a"] == found["only_b"] == 0


def test_words_of_pieces_are_hidden_and_asked_for(tmp_path: Path) -> None:
    asked = recipe(12, {"words": {"kind": "masked_text", "of": "text", "share": 0.3}}, backbone=str(checkpoints.tiny_bert()))
    made = fit(asked, tmp_path / "run")
    figures = made.report.tasks["words"]["metrics"]["models"]
    assert figures["after"]["perplexity"]["value"] < figures["before"]["perplexity"]["value"]
    _, prepared = ready(asked)
    question = prepared.batches("train", 8, seed=0).question(prepared.parts["train"][:8])
    batch, target = question.asked["words"]
    ids, mask = batch.inputs["text"]["input_ids"], batch.inputs["text"]["attention_mask"]
    assert (ids[:, 0] == 2).all() and all(int(row[int(n) - 1]) == 3 for row, n in zip(ids, mask.sum(1), strict=True))
    assert (target["labels"] >= 0).any(1).all()


def test_labelled_rows_are_not_left_out_as_equal() -> None:
    rows = documents()
    plain = prepare(recipe(tasks=MOOD, pieces=False, source=rows))
    assert plain.equal == 0 and sum(map(len, plain.parts.values())) == len(rows)
    both = [*rows, rows[30] | {"mood": "b" if rows[30]["mood"] == "a" else "a"}]
    assert prepare(recipe(tasks=LANGUAGE | MOOD, source=both)).equal == 10, "the same text with another label is another row"
    assert prepare(recipe(pieces=False, source=both)).equal == 11


def test_a_frozen_backbone_reads_pieces_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path / "cache"))
    source = documents()[:160]
    asked = recipe(12, MOOD, backbone=str(checkpoints.tiny_bert())).to_dict() | {"tuning": {"kind": "probe"}, "data": {"from": source}}
    first, second = (fit(read(asked), tmp_path / name) for name in ("first", "second"))
    assert first.report.data["rows"] == first.report.data["documents"], "where nothing is asked of later pieces, none is read"
    assert " 0 rows computed" in second.report.cost["frozen part of text"] and " 0 rows computed" not in first.report.cost["frozen part of text"]
    assert first.report.tasks == second.report.tasks
    whole = read(asked)
    whole = whole.replace(inputs={"text": whole.inputs["text"].replace(pieces=False)})
    rivals = [made.report.tasks["mood"]["metrics"]["models"] for made in (first, fit(whole, tmp_path / "whole"))]
    for rival in ("constant", "simple", "before"):
        assert rivals[0][rival] == rivals[1][rival], "the first piece is the text as it is cut"


def test_the_context_that_a_backbone_has_not_is_told(tmp_path: Path) -> None:
    values = recipe(16).to_dict() | {"data": {"from": documents()}}
    values["inputs"]["text"]["max_tokens"] = 400
    made = fit(read(values), tmp_path / "run")
    assert any(one["name"] == "context" and "takes 16 tokens at once, so 400" in one["text"] for one in made.report.warnings)
    cut = fit(recipe(16, pieces=False, epochs=1), tmp_path / "cut")
    assert any(one["name"] == "truncated" and "inputs.text.pieces: true reads them whole" in one["text"] for one in cut.report.warnings)


def test_mistakes(tmp_path: Path) -> None:
    values = recipe().to_dict() | {"data": {"from": documents()}}
    with pytest.raises(Mistake, match=r"inputs\.other\.pieces: 'text' is read in pieces already"):
        read(values | {"inputs": values["inputs"] | {"other": values["inputs"]["text"] | {"column": "mood"}}})
    with pytest.raises(Mistake, match="input 'other' reads the same column"):
        read(values | {"inputs": values["inputs"] | {"other": {"kind": "category", "column": "text"}}})
    with pytest.raises(Mistake, match=r"column text: no row has a value, so tasks\.language has nothing to ask"):
        prepare(recipe(source=[{"text": " " if i % 2 else None} for i in range(50)]))
    (tmp_path / "one.txt").write_text("one giant line " * 10_000)
    with pytest.raises(Mistake, match=r"one\.txt has 1 readable rows.*a text file is one: give a folder of them"):
        prepare(recipe(source=str(tmp_path / "one.txt")))
    with pytest.raises(Mistake, match=r"vocabulary: should be greater than or equal to 257"):
        read(values | {"inputs": {"text": values["inputs"]["text"] | {"backbone": {"kind": "gpt", "vocabulary": 100}}}})
    with pytest.raises(Mistake, match="greater than or equal to 4"):
        recipe(2)


def test_a_tokenizer_that_is_not_the_checkpoints_is_refused(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "bert"
    shutil.copytree(checkpoints.tiny_bert(), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    size, known = json.loads((folder / "config.json").read_text())["vocab_size"], len(tokenizer["model"]["vocab"])
    tokenizer["model"]["vocab"] |= {f"word{i}": i for i in range(known, size + 50)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(Mistake, match=rf"its tokenizer knows {size + 50:,} tokens, and its table of words has {size:,} rows"):
        ready(recipe(12, {"words": {"kind": "masked_text", "of": "text"}}, backbone=str(folder)))


def test_plain_texts_in_a_folder_are_read_whole(tmp_path: Path) -> None:
    for i, row in enumerate(documents()):
        (tmp_path / "texts" / f"{i % 7}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / f"{i % 7}" / f"{i}.txt").write_text(row["text"] or "nothing")
    prepared = prepare(recipe(source=str(tmp_path / "texts")))
    assert prepared.equal == 10 and len(prepared.table) > 400
    said = prepared.table.tokens  # type: ignore[union-attr]
    assert said.bytes.sum() == sum(len((row["text"] or "nothing").encode()) for row in documents()[:160])
    assert replace(prepared, augment=False).batches("train", 8).order(0)


def test_no_more_of_a_corpus_is_in_memory_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first look at it to the batches; the 16 MB of a block are made small here."""
    taken, take = [], Table.take

    def noted(self: Table, column: str, numbers: Any) -> list[Any]:
        values = take(self, column, numbers)
        taken.append([len(str(value)) for value in values])
        return values

    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(table, "TAKEN_BYTES", 2000)
    monkeypatch.setattr(Table, "take", noted)
    prepared = prepare(recipe())
    assert prepared.table.fingerprint and prepared.keys(prepared.sources()["train"])
    assert all(sum(sizes) <= 2000 or len(sizes) == 1 for sizes in taken) and len(taken) > 50
    taken.clear()
    assert list(prepared.batches("train", 8, seed=0).epoch()) and not taken, "batches look at no text"


def test_a_picture_stands_beside_every_piece_of_its_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    rows = documents()[:60]
    for i, row in enumerate(rows):
        row["photo"] = io.BytesIO()
        Image.new("RGB", (32, 32), (i, 2 * i, 3 * i)).save(row["photo"], "PNG")
        row["photo"] = row["photo"].getvalue()
    values = recipe(tasks=LANGUAGE | MOOD, source=rows).to_dict() | {"data": {"from": rows}}
    values["inputs"]["photo"] = {"kind": "image", "backbone": str(checkpoints.tiny_vit())}
    prepared = prepare(read(values))
    some = prepared.parts["train"][::5]
    seen = []
    for keep in (False, True):
        if keep:
            prepared.decoded["photo"].keep(prepared.sources())
        pixels = prepared.batches("train", 8).question(some).asked["language"][0].inputs["photo"]["pixels"]
        seen.append(pixels.float().mean((2, 3))[:, 0].round().int().tolist())
    prepared.close()
    assert seen == [prepared.table.origin(some).tolist()] * 2 and len(set(seen[0])) < len(seen[0])
