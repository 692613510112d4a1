"""Multiple choice through whole runs: zero-shot and trained, fixed options and a row's own; and what is wrong is said."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

import choices
from checkpoints import tiny_bart, tiny_bert, tiny_gpt2, tiny_llama, tiny_sentinel_t5
from instructions import ANSWERS
from omnitune import Artifact, Choose, Mistake, compare, fit, load
from omnitune.data.prepared import prepare
from omnitune.training.model import tune
from runs import ready


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(choices.recipe(), tmp_path_factory.mktemp("choose") / "run")


def held(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rows[i] for i in prepare(choices.recipe()).parts["test"].tolist()]


def test_it_learns_to_choose_and_says_how_much(trained: Artifact) -> None:
    task, rows = trained.report.tasks["means"], held(choices.rows())
    models = task["metrics"]["models"]
    assert models["after"]["accuracy"]["value"] > 0.9 > models["before"]["accuracy"]["value"]
    chance = sum(math.log(len(row["options"])) for row in rows) / len(rows)
    assert models["after"]["log_loss"]["value"] < models["constant"]["log_loss"]["value"] == pytest.approx(chance)
    assert set(task["metrics"]["higher"]) == {"accuracy", "log_loss", "brier", "calibration_error"}
    assert task["baselines"]["constant"] == "chance: every option alike"
    assert task["details"]["calibration"]["before"]["ece"] == pytest.approx(models["after"]["calibration_error"]["value"])
    assert "type: multiple-choice" in (trained.path / "README.md").read_text(encoding="utf-8")


def test_it_answers_rows_in_their_order_by_the_words_of_the_options(trained: Artifact) -> None:
    rows = [{name: row[name] for name in ("light", "place", "options")} for row in choices.rows()[:30]]
    answers = trained.predict(rows)
    assert sum(a["means"]["value"] == row["means"] for a, row in zip(answers, choices.rows(), strict=False)) > 26
    for answer, row in zip(answers, rows, strict=True):
        assert list(answer["means"]["probabilities"]) == row["options"]
        assert sum(answer["means"]["probabilities"].values()) == pytest.approx(1)
    alone = trained.predict(rows[7])["means"]["probabilities"]
    assert alone == pytest.approx(answers[7]["means"]["probabilities"], rel=1e-4)
    assert load(trained.path).predict(rows) == answers
    turned = trained.predict([row | {"options": row["options"][::-1]} for row in rows])
    for a, b in zip(answers, turned, strict=True):
        assert a["means"]["probabilities"] == pytest.approx(b["means"]["probabilities"], rel=1e-3), "the order of the options says nothing"


def test_rows_that_cannot_be_chosen_for_get_their_own_error(trained: Artifact) -> None:
    row = choices.rows()[1]
    twice, one, none, good = trained.predict([row | {"options": options} for options in (["a", "a"], ["a"], None, "go on|stop here")])
    assert "'a' stands there twice" in twice["error"] and "one option only" in one["error"] and "no option" in none["error"]
    assert set(good["means"]["probabilities"]) == {"go on", "stop here"}
    with pytest.raises(Mistake, match="no column 'options'"):
        trained.predict([{"light": "red", "place": "x"}])


def test_runs_are_compared_row_by_row(trained: Artifact) -> None:
    found = compare(trained.path, trained.path)["tasks"]["means"]
    assert found["shared"] == found["metrics"]["rows"] == len(held(choices.rows()))
    assert found["metrics"]["models"]["a"]["accuracy"]["value"] == trained.report.value("means", "accuracy")


def likelihoods(folder: Path, row: dict[str, Any], by: str, decodes: bool = False) -> torch.Tensor:
    """By transformers, an option at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lm = (AutoModelForSeq2SeqLM if decodes else AutoModelForCausalLM).from_pretrained(folder).eval()
    prompt, found = f"Light {row['light']} at {row['place']}:", []
    for option in row["options"]:
        with torch.no_grad():
            if decodes:
                said = tokenizer(option, add_special_tokens=False)["input_ids"]
                before = torch.tensor([[lm.config.decoder_start_token_id, *said[:-1]]])
                logits = lm(input_ids=torch.tensor([tokenizer(prompt)["input_ids"]]), decoder_input_ids=before).logits[0]
            else:
                asked, said = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, f" {option}"))
                asked = [*frame(tokenizer), *asked]
                logits = lm(torch.tensor([asked + said])).logits[0, len(asked) - 1 : -1]
        nats = logits.log_softmax(1).gather(1, torch.tensor(said)[:, None]).sum()
        found.append(nats / {"token": len(said), "byte": len(option.encode()), "none": 1}[by])
    return torch.stack(found).softmax(0)


def frame(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before a text."""
    ids: list[int] = tokenizer("a")["input_ids"]
    return ids[: ids.index(tokenizer("a", add_special_tokens=False)["input_ids"][0])]


@pytest.mark.parametrize("by", ["token", "byte", "none"])
@pytest.mark.parametrize("folder", [tiny_llama, tiny_gpt2, tiny_sentinel_t5, tiny_bart], ids=["llama", "gpt2", "t5", "bart"])
def test_probabilities_are_those_that_transformers_gives_each_option(folder: Any, by: str) -> None:
    rows = choices.rows(60)
    model, prepared = ready(choices.recipe(rows, backbone=str(folder()), by=by))
    head, asked = model.eval().head("means"), prepared.batches("train", 8, rows=prepared.parts["train"][:6]).question(prepared.parts["train"][:6])
    batch, _ = asked.asked["means"]
    with torch.no_grad():
        p_BK = head.predict(model(batch))  # type: ignore[operator]
    for place, row in enumerate(batch.rows.tolist()):
        wanted = likelihoods(folder(), rows[row], by, "labels" in batch.inputs["place"])
        torch.testing.assert_close(p_BK[place, : len(wanted)], wanted, rtol=1e-4, atol=1e-6)
        assert not p_BK[place, len(wanted) :].any()


def test_the_gradient_is_that_of_logits_that_are_kept() -> None:
    model, prepared = ready(choices.recipe(choices.rows(60), backbone=str(tiny_llama()), by="token"))
    question = prepared.batches("train", 6, rows=prepared.parts["train"][:6]).question(prepared.parts["train"][:6])
    batch, target = question.asked["means"]
    head = model.eval().head("means")
    head.steepness.data.fill_(0.7)
    loss = head.loss(model(batch), target)
    loss.sum.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    inputs, view = batch.inputs["place"], model(batch)
    logits = head.words._own[0](view.streams["place"].x_BLD.flatten(0, 1)) @ head.words.table.T
    nats_BL = logits.view(*inputs["input_ids"].shape, -1).log_softmax(2)
    scores = torch.full((6, 3), -1e30)
    for row in range(6):
        for option in range(int(inputs["text"][row].max()) + 1):
            mine = inputs["text"][row] == option
            scores[row, option] = nats_BL[row, inputs["at"][row][mine], inputs["says"][row][mine]].mean()
    wanted = torch.nn.functional.cross_entropy(scores * head.steepness.exp(), target["y"], reduction="sum")
    wanted.backward()
    torch.testing.assert_close(loss.sum, wanted)
    for name, p in model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(found[name], p.grad, rtol=1e-3, atol=1e-5, msg=name)
    assert found["heads.means_.steepness"].abs() > 0


@pytest.mark.parametrize("generation", ["gpt1", "gpt2", "gpt3", "modern"])
def test_the_prompt_is_computed_once_with_the_same_loss_and_gradients(generation: str) -> None:
    rows, found = choices.rows(60), {}
    for together in (True, False):
        model, prepared = ready(choices.recipe(rows, backbone=choices.GPT | {"generation": generation}))
        encoder = model.backbones["place"]
        encoder.set_dropout(0.0, 0.0)
        encoder.forks = None if together else False
        loss = model.losses(prepared.batches("train", 8, 0).question(prepared.parts["train"][:8]))["means"].mean
        loss.backward()
        found[together] = (
            loss.detach(),
            {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
            int(encoder.padding.tokens["real"]),
        )
        assert encoder.forks is together
    torch.testing.assert_close(found[True][0], found[False][0], rtol=1e-5, atol=1e-6)
    for name, gradient in found[True][1].items():
        torch.testing.assert_close(gradient, found[False][1][name], rtol=1e-3, atol=1e-5, msg=name)
    assert found[True][2] < 0.7 * found[False][2]


def test_a_model_that_cannot_reads_each_option_behind_a_prompt_of_its_own() -> None:
    xl = {"kind": "transformer_xl", "depth": 2, "width": 32, "heads": 2, "segment": 48, "memory": 16, "vocabulary": 300}
    model, prepared = ready(choices.recipe(choices.rows(60), backbone=xl))
    loss = model.losses(prepared.batches("train", 8, 0).question(prepared.parts["train"][:8]))["means"].mean
    assert not model.backbones["place"].forks and 0.5 < loss < 2


def test_the_same_options_for_all_rows_make_a_classifier(tmp_path: Path) -> None:
    made = fit(choices.recipe(None, "train.epochs=12", choices=[*ANSWERS.values()], by="none"), tmp_path / "run")
    task = made.report.tasks["means"]
    assert set(task["metrics"]["models"]) == {"constant", "simple", "before", "after"}
    assert task["metrics"]["models"]["after"]["accuracy"]["value"] > 0.9
    assert [of["name"] for of in task["details"]["classes"]] == [*ANSWERS.values()]
    said = made.predict({"light": "red", "place": "here"})["means"]
    assert said["value"] == "stop here" and list(said["probabilities"]) == [*ANSWERS.values()]


def test_options_may_stand_in_several_columns_and_the_right_one_be_a_number() -> None:
    rows = [
        row | {"a": row["options"][0], "b": row["options"][1], "c": row["options"][2] if len(row["options"]) > 2 else None}
        for row in choices.rows(60)
    ]
    wanted = ready(choices.recipe(rows))
    numbered = ready(choices.recipe(rows, target="place_of", counts_from=1, options=["a", "b", "c"]))
    for _, prepared in (wanted, numbered):
        question = prepared.batches("train", 8).question(prepared.parts["train"][:8])
        assert (question.asked["means"][1]["y"] >= 0).all()
        torch.manual_seed(0)
    targets = [p.batches("train", 8).question(p.parts["train"][:8]).asked["means"][1]["y"] for _, p in (wanted, numbered)]
    assert torch.equal(*targets)


@pytest.mark.parametrize("tuning", ["lora", "probe"])
def test_a_checkpoint_is_tuned_by_adapters_or_in_its_steepness_alone(tuning: str, tmp_path: Path) -> None:
    rows = choices.rows(60)
    made = fit(choices.recipe(rows, "train.epochs=2", f"tuning={tuning}", backbone=str(tiny_llama())), tmp_path / "run")
    losses = made.report.tasks["means"]["metrics"]["models"]
    assert losses["after"]["log_loss"]["value"] < losses["before"]["log_loss"]["value"]
    assert load(made.path).predict(rows[:4]) == made.predict(rows[:4])


def test_a_row_without_an_answer_teaches_nothing_and_a_classifier_beside_it_is_not_told() -> None:
    rows = choices.rows(60)
    rows[0] |= {"means": None}
    values = choices.recipe(rows).to_dict() | {"data": {"from": rows}}
    values["tasks"]["light"] = {"kind": "classify", "target": "light"}
    values["tasks"]["means"]["prompt"] = "At {place}:"
    from omnitune.recipe import read

    model, prepared = ready(read(values))
    question = prepared.batches("train", 60).question(prepared.parts["train"])
    weight = dict(zip(question.rows.tolist(), question.asked["means"][1]["weight"].tolist(), strict=True))
    assert all(weight[row] == (row != 0) for row in weight)
    assert question.asked["light"][0] is not question.asked["means"][0]
    assert "branch" not in question.asked["light"][0].inputs["place"]
    loss = model.losses(question)
    assert loss["means"].count == sum(weight.values()) and loss["light"].sum.isfinite()


def test_all_that_is_wrong_with_rows_is_said_at_once() -> None:
    rows = choices.rows(60)
    rows[1] |= {"options": ["a", "b", "a"]}
    rows[2] |= {"options": ["go on"]}
    rows[3] |= {"options": None}
    rows[4] |= {"means": "stop her"}
    rows[5] |= {"options": ["a", " "], "means": "b"}
    rows[6] |= {"options": [f"option {i}" for i in range(20)], "means": None}
    with pytest.raises(Mistake) as found:
        prepare(choices.recipe(rows))
    for words in (
        "'a' stands there twice", "one option only, 'go on'", "no option", "Did you mean 'stop here'?", "one option only, 'a'", "more than most: 16",
        "6 rows cannot be read",
    ):  # fmt: skip
        assert words in str(found.value), words


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"choices": ["a"]}, "one option only"),
        ({"choices": ["a", "a"]}, "stands there twice"),
        ({"options": ["a"]}, "two different columns"),
        ({"options": "nowhere"}, "no column 'nowhere'"),
        ({"prompt": "{light"}, "has no partner"),
        ({"prompt": "{means}"}, "A prompt must not hold its answer"),
        ({"system": "x"}, "set chat: true"),
        ({"chat": True}, "no chat template"),
        ({"backbone": None}, "sees the words"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(task: dict[str, Any], words: str) -> None:
    backbone = str(tiny_bert()) if "backbone" in task else str(tiny_llama())
    task.pop("backbone", None)
    with pytest.raises(Mistake) as found:
        prepare(choices.recipe(choices.rows(60), backbone=backbone, **task))
    assert words in str(found.value)


def test_neither_choices_nor_options_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="say what there is to choose from"):
        Choose(of="place", prompt="x", target="means")
    with pytest.raises(Mistake, match="choices are the options already"):
        Choose(of="place", prompt="x", target="means", choices=("a", "b"), options="c")


def test_special_tokens_in_an_option_are_text() -> None:
    rows = choices.rows(60)
    for row in rows:
        row["options"] = ["</s> <|endoftext|>", *row["options"]]
    model, prepared = ready(choices.recipe(rows, backbone=str(tiny_llama())))
    batch, _ = prepared.batches("train", 4).question(prepared.parts["train"][:4]).asked["means"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama())
    first = batch.inputs["place"]["says"][0][batch.inputs["place"]["text"][0] == 0]
    assert not set(first.tolist()) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(first) == " </s> <|endoftext|>"
    tune(model, prepared.recipe)
