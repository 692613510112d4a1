"""Pictures and sounds in prompts: learned, measured before and after, kept, saved, written about; and what is wrong is said."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import captions
from checkpoints import tiny_gpt2, tiny_llama, tiny_sentinel_t5, tiny_whisper
from omnitune import Artifact, Mistake, Sampling, fit, load
from omnitune.nn.projector import Inlays, fewer
from omnitune.recipe import read
from runs import cut_and_resumed, ready, same_weights


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return captions.rows()


@pytest.fixture(scope="module")
def trained(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(captions.recipe(rows), tmp_path_factory.mktemp("captions") / "run")


def right(made: Artifact, rows: list[dict[str, Any]]) -> int:
    return sum(answer["says"]["value"] == row["says"] for answer, row in zip(made.predict(rows), rows, strict=True))


def test_it_learns_to_say_what_a_picture_shows(trained: Artifact, rows: list[dict[str, Any]]) -> None:
    written = trained.report.tasks["says"]["written"]
    models = written["metrics"]["models"]
    assert set(models) == {"simple", "before", "after"} and models["simple"]["exact_match"]["value"] > 0.6, "colours are near in any backbone"
    assert models["after"]["exact_match"]["value"] > 0.8 > 0.1 > models["before"]["exact_match"]["value"]
    assert "the nearest of 51 training rows, by the backbone's vectors of photo" in written["baselines"]["simple"]
    assert right(trained, rows) > 75


def test_answers_do_not_depend_on_the_rows_beside_them(trained: Artifact, rows: list[dict[str, Any]]) -> None:
    some = rows[:20]
    some[3] = some[3] | {"place": "a long way " * 30}
    together = trained.predict(some)
    assert sum(a["says"]["value"] == row["says"] for a, row in zip(trained.predict(some, int8=True), some, strict=True)) > 15
    assert [trained.predict(row)["says"]["value"] for row in some[2:6]] == [answer["says"]["value"] for answer in together[2:6]]
    assert load(trained.path).predict(some) == together


def test_sampling_and_beams_see_pictures_too(trained: Artifact, rows: list[dict[str, Any]]) -> None:
    hot = Sampling(temperature=2.0, seed=1)
    assert [a["says"]["value"] for a in trained.predict(rows[:9], sampling=hot)] == [
        a["says"]["value"] for a in trained.predict(rows[:9], sampling=hot)
    ]
    followed = trained.predict(rows[:9], sampling=Sampling(temperature=0, num_beams=3))
    assert sum(answer["says"]["value"] == row["says"] for answer, row in zip(followed, rows[:9], strict=True)) >= 7
    short = trained.predict(rows[0], sampling=Sampling(temperature=0, repetition_penalty=1.01, stop_strings=("t",)))["says"]["value"]
    assert "t" in short and rows[0]["says"].startswith(short) and short != rows[0]["says"]


def test_a_missing_picture_is_answered_and_all_missing_teaches_nothing(trained: Artifact, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    assert trained.predict({"photo": None, "place": "x"})["says"]["value"] == captions.NOTHING
    less = [row | ({"photo": None, "place": None} if i < 3 else {}) for i, row in enumerate(rows)]
    made = fit(captions.recipe(less, "train.epochs=0.2", samples=0), tmp_path / "run")
    assert any(c["name"] == "unasked" and "3 have no answer, or nothing to ask with" in c["text"] for c in made.report.warnings)


def test_what_is_written_is_what_transformers_writes_from_embeddings(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    recipe = captions.recipe(rows, "train.epochs=3", "inputs.photo.prompt_tokens=4", backbone=str(tiny_llama()))
    made = fit(recipe, tmp_path / "run")
    lm = AutoModelForCausalLM.from_pretrained(made.path / "inputs" / "place_").eval()
    tokenizer = AutoTokenizer.from_pretrained(made.path / "inputs" / "place_")
    said = made.predict(rows[:4])
    inlays = made.model.inlays["place_"]
    assert isinstance(inlays, Inlays)
    (projector,) = inlays.projectors.values()
    for row, answer in zip(rows[:4], said, strict=True):
        pixels = recipe.inputs["photo"].encode([row["photo"]], {})
        with torch.no_grad():
            vectors = projector(fewer(made.model.encoder("photo")(pixels), 4, 1.0)).x_BLD
            before, behind = (
                lm.get_input_embeddings()(tokenizer(part, return_tensors="pt", add_special_tokens=False).input_ids)
                for part in (f"At {row['place']} ", " says")
            )
            ids = lm.generate(
                inputs_embeds=torch.cat([before, vectors, behind], 1), max_new_tokens=made.schema.tasks["says"]["answer"], do_sample=False
            )
        assert vectors.shape[1] == 4
        assert answer["says"]["value"] == tokenizer.decode(ids[0], skip_special_tokens=True).removeprefix(" ")


def test_a_projector_alone_learns_and_the_frozen_picture_is_computed_once(
    rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path / "cache"))
    recipe = captions.recipe(rows[:50], "train.epochs=2", "tuning=probe", "tasks.says.samples=3", backbone=str(tiny_llama()))
    kept, again = (fit(recipe, tmp_path / name) for name in ("kept", "again"))
    assert "all of it: 50 rows computed" in kept.report.cost["frozen part of photo"]
    assert "0 rows computed" in again.report.cost["frozen part of photo"]
    assert again.report.tasks == kept.report.tasks
    plain = fit(recipe.replace(train=recipe.train.replace(cache=0)), tmp_path / "plain")
    assert kept.report.value("says", "bits_per_byte") == pytest.approx(plain.report.value("says", "bits_per_byte"), rel=1e-3)
    models = kept.report.tasks["says"]["metrics"]["models"]
    assert models["after"]["bits_per_byte"]["value"] < 0.95 * models["before"]["bits_per_byte"]["value"]
    assert all(not p.requires_grad for backbone in kept.model.backbones.values() for p in backbone.parameters())


def test_a_run_that_was_cut_off_goes_on_bit_for_bit(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    recipe = captions.recipe(rows[:40], "train.epochs=2", "tuning={kind: lora, rank: 2}", samples=0, backbone=str(tiny_llama()))
    whole, halved = fit(recipe, tmp_path / "whole"), cut_and_resumed(recipe, tmp_path / "halved", 3)
    assert same_weights(whole, halved) and whole.report.tasks == halved.report.tasks
    assert load(tmp_path / "whole").predict(rows[:3]) == whole.predict(rows[:3])


def test_two_pictures_with_one_backbone_are_told_apart_by_their_places(tmp_path: Path) -> None:
    import numpy as np

    rng, rows = np.random.default_rng(1), list[dict[str, Any]]()
    for i in range(120):
        a, b = (str(colour) for colour in rng.choice(["red", "green"], 2))
        rows.append({"a": captions.picture(a, i), "b": captions.picture(b, i + 500), "says": f"{a} then {b}"})
    photo = captions.recipe(rows).to_dict()["inputs"]["photo"]
    values = captions.recipe(rows).to_dict() | {"data": {"from": rows, "split": [0.8, 0.1, 0.1]}}
    values["inputs"] = {"a": photo, "b": photo | {"shares": "a"}, "writer": values["inputs"]["place"] | {"column": "says_nothing"}}
    values["tasks"]["says"] |= {"of": "writer", "prompt": "{a} and {b}:"}
    values["tuning"]["of"] = ["writer"]
    values["inputs"]["writer"]["backbone"] = str(tiny_gpt2())
    made = fit(read(values, ["train.epochs=8"]), tmp_path / "run")
    inlays = made.model.inlays["writer_"]
    assert isinstance(inlays, Inlays) and list(inlays.projectors) == ["a_"]
    some = [{name: row[name] for name in ("a", "b")} for row in rows[:30]]
    said = [answer["says"]["value"] for answer in made.predict(some)]
    assert sum(one == row["says"] for one, row in zip(said, rows, strict=False)) > 24
    turned = [answer["says"]["value"] for answer in made.predict([{"a": row["b"], "b": row["a"]} for row in some])]
    assert sum(one == " then ".join(reversed(row["says"].split(" then "))) for one, row in zip(turned, rows, strict=False)) > 24


def test_sounds_of_any_length_stand_in_prompts(tmp_path: Path) -> None:
    rows = captions.rows(make=captions.heard)
    recipe = captions.recipe(rows, photo={"kind": "audio", "backbone": str(tiny_whisper()), "prompt_tokens": 5})
    made = fit(recipe, tmp_path / "run")
    assert right(made, rows) > 75
    assert load(made.path).predict(rows[:4]) == made.predict(rows[:4])


def test_the_encoder_of_an_encoder_decoder_reads_pictures(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    made = fit(captions.recipe(rows, "train.epochs=6", backbone=str(tiny_sentinel_t5())), tmp_path / "run")
    tokens = made.report.tasks["says"]["metrics"]["models"]
    assert tokens["after"]["perplexity"]["value"] < 0.7 * tokens["before"]["perplexity"]["value"]
    assert load(made.path).predict(rows[:3]) == made.predict(rows[:3])


def test_padded_or_flat_the_loss_is_the_same(rows: list[dict[str, Any]]) -> None:
    losses = []
    for flat in ("true", "false"):
        model, prepared = ready(captions.recipe(rows, f"train.flat={flat}"))
        question = prepared.batches("train", 16).question(prepared.parts["train"][:16])
        losses.append(model.eval().losses(question)["says"].mean.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_language_model_needs_no_column_of_its_own(tmp_path: Path) -> None:
    rows = [{name: row[name] for name in ("photo", "says")} for row in captions.rows(40)]
    made = fit(captions.recipe(rows, "train.epochs=0.2", backbone=str(tiny_llama()), prompt="{photo} says", samples=2), tmp_path / "run")
    assert isinstance(made.predict({"photo": rows[0]["photo"]})["says"]["value"], str)
    assert "model.predict([{'photo': ...}])" in (made.path / "README.md").read_text(encoding="utf-8")
    with pytest.raises(Mistake, match="no column 'place'"):
        fit(captions.recipe(rows, "train.epochs=0.2", backbone=str(tiny_llama())), tmp_path / "asked")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["inputs.photo.most=3"], r"inputs\.photo\.most: a cell may hold several values, and tasks\.says has one stand in its prompt"),
        (["inputs.photo={kind: series}"], r"'photo' is an input of kind series.*Name texts, numbers or categories, pictures or sounds"),
        (["tasks.says={kind: extract, of: place, question: '{photo}?', target: says}"], r"'photo' is an input of kind image.*numbers or categories"),
        (["tasks.says={kind: prefer, of: place, prompt: '{photo}', chosen: says, rejected: other}"], r"'photo' is an input of kind image"),
        (["tuning={kind: lora, of: [foto]}"], r"tuning\.of: 'foto' is no input with a backbone of its own. Did you mean 'photo'"),
        (["tuning={kind: probe, of: [photo]}"], r"tuning\.of: probe is for all backbones"),
        (["tasks.says.prompt='{phot} says'"], r"no column 'phot'"),
        (["inputs.photo.prompt_tokens=62"], r"with the pictures and sounds in it takes \d+ tokens.*lower prompt_tokens"),
    ],
)
def test_what_is_wrong_is_said(overrides: list[str], message: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=message):
        fit(captions.recipe(rows, *overrides), tmp_path / "run")


def test_one_of_several_options_is_chosen_by_a_picture(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    values = captions.recipe(rows, backbone=str(tiny_llama())).to_dict() | {"data": {"from": rows, "split": [0.6, 0.2, 0.2]}}
    values["tasks"] = {
        "says": {"kind": "choose", "of": "place", "prompt": "{photo} says", "target": "says", "choices": [*captions.SAID.values(), captions.NOTHING]}
    }
    values["inputs"]["photo"]["prompt_tokens"] = 4
    made = fit(read(values, ["train.epochs=6", "train.flat=true"]), tmp_path / "run")
    assert made.report.value("says", "accuracy") > 0.8
    assert right(made, rows) > 70
    padded, _ = ready(read(values, ["train.flat=false"]))
    flat, prepared = ready(read(values))
    question = prepared.batches("train", 8).question(prepared.parts["train"][:8])
    one, other = (model.eval().losses(question)["says"].mean.item() for model in (flat, padded))
    assert one == pytest.approx(other, rel=1e-5)


def test_adapters_may_be_for_the_language_model_alone(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    recipe = captions.recipe(rows, "train.epochs=0.5", "tuning={kind: lora, rank: 2, of: [place]}", samples=0, backbone=str(tiny_llama()))
    made = fit(recipe, tmp_path / "run")
    assert "all of it:" in made.report.cost["frozen part of photo"]
    assert (made.path / "inputs" / "place_" / "adapter_model.safetensors").exists()
    assert not (made.path / "inputs" / "photo_" / "adapter_model.safetensors").exists()
    assert load(made.path).predict(rows[:3]) == made.predict(rows[:3])


def test_a_ladder_begins_with_the_projector_alone(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    made = fit(captions.recipe(rows, "train.epochs=1", "tuning=auto", samples=0, backbone=str(tiny_llama())), tmp_path / "run")
    first, *_ = made.report.cost["rungs"]
    assert first["rung"] == "probe" and "not begun" not in first["result"]


def test_a_model_that_cannot_read_vectors_is_refused(rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnitune.nn.encoder.Encoder.takes_vectors", lambda _: False)  # no family of transformers is known that does not
    with pytest.raises(Mistake, match="GPT does not read vectors in the place of words"):
        fit(captions.recipe(rows), tmp_path / "run")
