"""Prompts and answers in the same loop: learned, measured before and after as tokens and as texts, saved, predicted; and what is wrong is said."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from typer.testing import CliRunner

import instructions
from checkpoints import tiny_bart, tiny_bert, tiny_llama, tiny_sentinel_t5
from omnitune import Artifact, Mistake, Sampling, fit, generate, load
from omnitune.cli import app
from omnitune.commands import predict as predicting
from omnitune.recipe import read
from omnitune.training.model import Model, tune
from runs import ready


def asked(tokenizer: Any, row: dict[str, Any]) -> list[int]:
    """The prompt of a row as transformers reads it, the mark at its end left out."""
    ids: list[int] = tokenizer(f"Light {row['light']} at {row['place']} after {row['minutes']} minutes. {{so}}:")["input_ids"]
    assert ids[0] == ids[-1] == tokenizer.eos_token_id
    return ids[:-1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(instructions.recipe(), tmp_path_factory.mktemp("instructions") / "run")


def test_it_learns_to_answer_and_says_how_much(trained: Artifact) -> None:
    task = trained.report.tasks["means"]
    tokens = task["metrics"]["models"]
    assert tokens["after"]["bits_per_byte"]["value"] < tokens["constant"]["bits_per_byte"]["value"] < tokens["before"]["bits_per_byte"]["value"]
    texts = task["written"]["metrics"]
    assert set(texts["models"]) == {"simple", "before", "after"}
    assert texts["models"]["after"]["exact_match"]["value"] > 0.9 > 0.1 > texts["models"]["before"]["exact_match"]["value"]
    assert trained.report.value("means", "rouge1") == texts["models"]["after"]["rouge1"]["value"]
    shown = task["written"]["examples"][0]
    assert set(shown) == {"true", "simple", "before", "after"} and shown["true"] in instructions.ANSWERS.values()
    for name in ("report.md", "report.html"):
        assert shown["after"] in (trained.path / name).read_text(encoding="utf-8")
    assert "means, written" in str(trained.report)
    assert "'light': ..." in (trained.path / "README.md").read_text(encoding="utf-8")


def test_the_bits_are_those_that_transformers_counts_on_answers_alone(trained: Artifact) -> None:
    folder = trained.path / "inputs" / "place_"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    _, prepared = ready(instructions.recipe())
    nats = size = 0.0
    for row in (instructions.rows()[i] for i in prepared.parts["test"].tolist()):
        prompt, answer = asked(tokenizer, row), [*tokenizer(f" {row['means']}", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            ids = torch.tensor([prompt + answer])
            labels = torch.tensor([[-100] * len(prompt) + answer])
            nats += float(model(ids, labels=labels).loss) * len(answer)
        size += len(row["means"].encode())
    assert trained.report.value("means", "bits_per_byte") == pytest.approx(nats / size / math.log(2), rel=1e-4)


def test_it_answers_rows_in_their_order_whatever_the_batch(trained: Artifact) -> None:
    rows = instructions.rows()[:40]
    rows[7] = rows[7] | {"place": "a long way " * 30}
    answers = trained.predict(rows)
    assert sum(a["means"]["value"] == row["means"] for a, row in zip(answers, rows, strict=True)) > 36
    assert [trained.predict(row)["means"]["value"] for row in rows[5:9]] == [a["means"]["value"] for a in answers[5:9]]


def test_every_token_has_its_probability(trained: Artifact) -> None:
    row = instructions.rows()[0]
    said = trained.predict(row)["means"]
    folder = trained.path / "inputs" / "place_"
    lm, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    prompt = asked(tokenizer, row)
    ids = tokenizer.convert_tokens_to_ids([token for token, _ in said["tokens"]])
    with torch.no_grad():
        wanted = lm(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].softmax(1).gather(1, torch.tensor(ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor([p for _, p in said["tokens"]]), wanted, rtol=1e-4, atol=1e-5)
    assert tokenizer.decode(ids[:-1]) == f" {said['value']}" and ids[-1] == tokenizer.eos_token_id


def test_sampling_is_asked_for_and_repeats(trained: Artifact) -> None:
    rows, hot = instructions.rows()[:20], Sampling(temperature=2.0, seed=1)
    first, again, other = (
        [a["means"]["value"] for a in trained.predict(rows, sampling=how)] for how in (hot, hot, Sampling(temperature=2.0, seed=2))
    )
    assert first == again != other
    assert trained.predict(rows[0], sampling=Sampling(temperature=0, num_beams=2))["means"]["tokens"] == []
    assert len(trained.predict(rows[0], sampling=Sampling(max_new_tokens=2, temperature=0))["means"]["tokens"]) == 2


def test_the_command_answers_a_table(trained: Artifact, tmp_path: Path) -> None:
    from runs import write_csv

    rows = [{name: row[name] for name in ("light", "place", "minutes")} for row in instructions.rows()[:6]]
    table = write_csv(tmp_path / "rows.csv", rows)
    wanted = [answer["means"]["value"] for answer in trained.predict(rows)]
    done = CliRunner().invoke(app, ["predict", str(trained.path), str(table), "--out", str(tmp_path / "said.csv")])
    assert done.exit_code == 0, done.output
    with (tmp_path / "said.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["means"] for row in found] == wanted and 0 < float(found[0]["means:probability"]) <= 1
    shown = CliRunner().invoke(app, ["predict", str(trained.path), str(table)])
    assert shown.output.splitlines()[0] == f"means: {wanted[0]}"
    hot = ["predict", str(trained.path), str(table), "--temperature", "3", "--seed", "4", "--json"]
    lines = CliRunner().invoke(app, hot).output.splitlines()
    assert [json.loads(line)["means"]["value"] for line in lines] != wanted
    followed = predicting.flat(trained.predict(rows[0], sampling=Sampling(temperature=0, num_beams=2)))
    assert followed["means"] and followed["means:probability"] is None, "not 1, which nobody measured"


def test_in_8_bits_it_still_answers_and_nothing_is_claimed_of_texts(trained: Artifact) -> None:
    from omnitune.commands.predict import predict

    told: list[str] = []
    rows = instructions.rows()[:20]
    said = list(predict(trained.path, rows, int8=True, tell=told.append))
    assert sum(answer["means"]["value"] == row["means"] for answer, row in zip(said, rows, strict=True)) > 15
    assert told == ["means: what int8 changes in texts is not measured"]


def test_it_also_goes_on_from_words_as_they_are(trained: Artifact) -> None:
    row = instructions.rows()[0]
    prompt = f"Light {row['light']} at {row['place']} after {row['minutes']} minutes. {{so}}:"
    assert generate(load(trained.path), prompt, Sampling(max_new_tokens=20, temperature=0)) == [f" {row['means']}"]


def test_a_column_that_is_not_there_or_cannot_be_read_is_said(trained: Artifact) -> None:
    with pytest.raises(Mistake, match="no column 'light'"):
        trained.predict([{"place": "x", "minutes": 1}])
    bad, good = trained.predict([instructions.rows()[0] | {"light": [1, 2]}, instructions.rows()[1]])
    assert "light" in bad["error"] and good["means"]["value"] == instructions.rows()[1]["means"]


@pytest.mark.parametrize("tuning", ["lora", {"kind": "freeze", "blocks": 1}])
def test_a_checkpoint_is_tuned_and_saved(tuning: Any, tmp_path: Path) -> None:
    values = instructions.recipe(instructions.rows(60)).to_dict() | {"data": {"from": instructions.rows(60)}, "tuning": tuning}
    values["inputs"]["place"]["backbone"] = str(tiny_llama())
    made = fit(read(values, ["train.epochs=2", "tasks.means.samples=3"]), tmp_path / "run")
    tokens = made.report.tasks["means"]["metrics"]["models"]
    assert tokens["after"]["bits_per_byte"]["value"] < tokens["before"]["bits_per_byte"]["value"]
    again = load(tmp_path / "run")
    assert again.predict(instructions.rows()[:3]) == made.predict(instructions.rows()[:3])


@pytest.mark.parametrize("folder", [tiny_sentinel_t5, tiny_bart], ids=["t5", "bart"])
def test_an_encoder_decoder_reads_the_prompt_and_its_decoder_answers(folder: Any, tmp_path: Path) -> None:
    values = instructions.recipe(instructions.rows(60)).to_dict() | {"data": {"from": instructions.rows(60)}}
    values["inputs"]["place"]["backbone"] = str(folder())
    made = fit(read(values, ["train.epochs=6", "train.lr=2e-3", "tasks.means.samples=4"]), tmp_path / "run")
    tokens = made.report.tasks["means"]["metrics"]["models"]
    assert tokens["after"]["perplexity"]["value"] < 0.7 * tokens["before"]["perplexity"]["value"]
    rows, folder = instructions.rows()[:4], made.path / "inputs" / "place_"
    said = made.predict(rows)
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for row, answer in zip(rows, said, strict=True):
        ids = tokenizer(f"Light {row['light']} at {row['place']} after {row['minutes']} minutes. {{so}}:", return_tensors="pt").input_ids
        wanted = model.generate(ids, max_new_tokens=made.schema.tasks["means"]["answer"], do_sample=False, num_beams=1)
        assert answer["means"]["value"] == tokenizer.decode(wanted[0], skip_special_tokens=True)
    assert load(tmp_path / "run").predict(rows) == said
    told = made.report.tasks["means"]["written"]["examples"][0]["after"]
    assert told in {a["means"]["value"] for a in made.predict(instructions.rows())}


def test_what_frozen_blocks_make_of_a_prompt_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path / "cache"))
    values = instructions.recipe(instructions.rows(60)).to_dict() | {"data": {"from": instructions.rows(60)}}
    values |= {"tuning": {"kind": "freeze", "blocks": 1}}
    values["inputs"]["place"]["backbone"] = str(tiny_llama())
    short = ["train.epochs=2", "tasks.means.samples=4"]
    kept, again = (fit(read(values, short), tmp_path / name) for name in ("kept", "again"))
    plain = fit(read(values, [*short, "train.cache=0"]), tmp_path / "plain")
    assert "the first 2 of 3 blocks: 60 rows computed" in kept.report.cost["frozen part of place"]
    assert "0 rows computed" in again.report.cost["frozen part of place"]
    assert again.report.tasks == kept.report.tasks
    assert kept.report.value("means", "bits_per_byte") == pytest.approx(plain.report.value("means", "bits_per_byte"), rel=1e-4)
    other = fit(read(values, [*short, "tasks.means.prompt=At {place} {light}"]), tmp_path / "other")
    assert "60 rows computed" in other.report.cost["frozen part of place"]


def test_prompts_are_read_flat_as_they_are_padded() -> None:
    losses = []
    for flat in ("true", "false"):
        model, prepared = ready(instructions.recipe(None, f"train.flat={flat}"))
        tune(model, prepared.recipe)
        question = prepared.batches("train", 16).question(prepared.parts["train"][:16])
        losses.append(model.losses(question)["means"].mean.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_another_task_reads_the_value_and_not_the_answer() -> None:
    """Two tasks on one input: what the classifier sees must not depend on the answer."""
    rows = instructions.rows()
    values = instructions.recipe(rows).to_dict() | {"data": {"from": rows}}
    values["tasks"]["which"] = {"kind": "classify", "target": "light"}
    values["tasks"]["means"]["prompt"] = "At {place}:"
    model, prepared = ready(read(values))
    question = prepared.batches("train", 8).question(prepared.parts["train"][:8])
    (asked, _), (plain, _) = question.asked["means"], question.asked["which"]
    assert asked.inputs["place"]["input_ids"].shape[1] > plain.inputs["place"]["input_ids"].shape[1]
    said = [row["means"] for row in rows]
    for row, answer in zip(rows, said[1:] + said[:1], strict=True):
        row["means"] = answer
    other = ready(read(values | {"data": {"from": rows}}))[1].batches("train", 8).question(prepared.parts["train"][:8])
    assert torch.equal(other.asked["which"][0].inputs["place"]["input_ids"], plain.inputs["place"]["input_ids"])
    assert isinstance(model, Model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "Light {lihgt}:"}, r"tasks\.means\.prompt: rows has no column 'lihgt'.*Did you mean 'light'"),
        ({"prompt": "Light {light:"}, r"tasks\.means\.prompt: the brace '\{' at character 7 has no partner"),
        ({"prompt": "Say {means}:"}, r"tasks\.means\.prompt: column 'means' is also the target"),
        ({"target": "menas"}, r"has no column 'menas'.*Did you mean 'means'"),
        ({"chat": True}, r"tasks\.means\.chat: the checkpoint has no chat template"),
        ({"system": "x"}, r"tasks\.means\.system: is of use in a chat only"),
        ({"prompt": None}, r"tasks\.means\.target: is of use with a prompt only"),
        ({"target": None}, r"tasks\.means\.target: a prompt needs the column of its answers"),
        ({"prompt": "word " * 80}, r"tasks\.means\.prompt: its own text takes"),
        ({"prompt": "{photo}:"}, r"tasks\.means\.prompt: 'photo' is an input of kind series, whose values cannot be written into a text"),
        ({"of": "plaec"}, r"tasks\.means\.of: 'plaec' is no text input. Did you mean 'place'"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    more = ["inputs.photo={kind: series}"] if "photo" in str(change) else []
    with pytest.raises(Mistake, match=message):
        fit(instructions.recipe(None, *more, **change), tmp_path / "run")


def test_rows_with_one_value_and_different_prompts_all_teach() -> None:
    rows = [row | {"place": f"corner {i % 40}"} for i, row in enumerate(instructions.rows(200))]
    _, prepared = ready(instructions.recipe(rows, "data.split=[0.6, 0.2, 0.2]"))
    assert sum(map(len, prepared.parts.values())) == 200 and prepared.equal == 0


def test_a_long_template_fits_beside_short_answers() -> None:
    _, prepared = ready(instructions.recipe(prompt="{place}" + " x" * 20))
    assert 64 - prepared.schema.tasks["means"]["answer"] > 20
    with pytest.raises(Mistake, match="its own text takes"):
        ready(instructions.recipe(prompt="{place}" + " x" * 20, answer_tokens=30))


def test_tokens_of_prompts_are_not_dropped() -> None:
    with pytest.raises(Mistake, match=r"inputs\.place\.token_dropout: no token of a prompt is dropped"):
        instructions.recipe(None, "inputs.place.token_dropout=0.1")


def test_a_backbone_that_does_not_write_is_refused(tmp_path: Path) -> None:
    values = instructions.recipe().to_dict() | {"data": {"from": instructions.rows()}}
    values["inputs"]["place"]["backbone"] = str(tiny_bert())
    with pytest.raises(Mistake, match="sees the words that it would be asked for"):
        fit(read(values), tmp_path / "run")


def test_empty_answers_are_refused_by_row_or_left_out_and_listed(tmp_path: Path) -> None:
    rows = instructions.rows()
    rows[4]["means"], rows[5]["means"] = "  ", None
    with pytest.raises(Mistake, match=r"row 5, column means: an answer of nothing but white space"):
        fit(instructions.recipe(rows), tmp_path / "refused")
    made = fit(instructions.recipe(rows, "data.bad_rows=skip", "train.epochs=0.2", samples=0), tmp_path / "run")
    assert (made.path / "bad_rows.csv").exists() and "written" not in made.report.tasks["means"]
    assert any(c["name"] == "unasked" and "rows 1 have no answer" in c["text"] for c in made.report.warnings)


def test_long_prompts_and_long_answers_are_counted(tmp_path: Path) -> None:
    rows = instructions.rows(60)
    for row in rows[::2]:
        row["place"] = f"{row['place']} " + "and on " * 60
        row["means"] = row["means"] + " because of this and that"
    made = fit(instructions.recipe(rows, "train.epochs=0.2", answer_tokens=12, samples=0), tmp_path / "run")
    told = {caution["name"]: caution["text"] for caution in made.report.warnings}
    assert "Of 60 prompts 30 are longer than is read" in told["shortened"]
    assert "longer than 12 tokens" in told["cut_answers"]
    assert "truncated" not in told


def test_a_range_of_what_is_written_is_checked(tmp_path: Path) -> None:
    made = fit(instructions.recipe(None, "train.epochs=0.2", "expect={means.rouge1: [1.0, 1.0]}"), tmp_path / "run")
    assert any(caution["name"] == "unexpected" and "means.rouge1" in caution["text"] for caution in made.report.warnings)
    with pytest.raises(Mistake, match=r"train\.stop_on: 'means\.rouge1' is not measured"):
        instructions.recipe(None, "train.stop_on=means.rouge1")
