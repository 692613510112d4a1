"""Speech by a decoder in the same loop: learned, measured before and after as tokens and as words, saved, in windows; mistakes are told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import WhisperForConditionalGeneration

import speech
from checkpoints import tiny_ast, tiny_speaker, tiny_whisper
from omnitune import Artifact, Mistake, Sampling, fit, load
from omnitune.backbones.pretrained import Pretrained
from omnitune.nn.dictation import joined
from omnitune.recipe import read
from omnitune.training.listening import Listening
from runs import ready

FULL = {"full_length": True}


def recipe(*overrides: str, n: int = 40, **audio: Any) -> Any:
    return speech.recipe(speech.rows(n, seconds=0.2), str(tiny_speaker()), *overrides, **(audio or FULL))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    asked = recipe("train.epochs=30", "train.validate_every=30", "train.attention_dropout=0", n=32)
    return fit(asked, tmp_path_factory.mktemp("transcribe") / "run")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """By adapters, in the encoder and in the decoder."""
    asked = recipe("tuning={kind: lora, rank: 4}", "train.epochs=2", "train.lr=0.01", "tasks.words.samples=0", n=16)
    return fit(asked, tmp_path_factory.mktemp("transcribe") / "adapted")


def test_it_learns_what_is_said_and_tells_how_much(trained: Artifact) -> None:
    task = trained.report.tasks["words"]
    tokens, texts = task["metrics"]["models"], task["written"]["metrics"]["models"]
    assert tokens["after"]["bits_per_byte"]["value"] < 0.3 * tokens["before"]["bits_per_byte"]["value"]
    assert set(texts) == {"constant", "before", "after"}
    assert texts["after"]["wer"]["value"] < 0.3 < 0.9 < texts["before"]["wer"]["value"]
    assert texts["after"]["wer"]["low"] is not None
    assert "words, written" in str(trained.report)


def test_a_saved_model_writes_the_same(trained: Artifact) -> None:
    sounds = speech.rows(6, seconds=0.2, seed=50)
    said = trained.predict([{"sound": row["sound"]} for row in sounds])
    assert said == load(trained.path).predict([{"sound": row["sound"]} for row in sounds])
    right = sum(row["words"]["value"] == true["text"] for row, true in zip(said, sounds, strict=True))
    assert right >= 4
    tokens = said[0]["words"]["tokens"]
    assert tokens[-1][0] == "<|endoftext|>" and all(0 < chance <= 1 for _, chance in tokens)
    assert trained.predict({"sound": None})["words"]["value"] == ""
    beams = trained.predict([{"sound": row["sound"]} for row in sounds], sampling=Sampling(temperature=0, num_beams=3))
    assert sum(row["words"]["value"] == true["text"] for row, true in zip(beams, sounds, strict=True)) >= 4


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers in the old way
def test_peft_reads_the_adapter_of_both_halves_and_so_does_a_backbone(adapted: Artifact) -> None:
    tokens = adapted.report.tasks["words"]["metrics"]["models"]
    assert tokens["after"]["bits_per_byte"]["value"] < tokens["before"]["bits_per_byte"]["value"]
    folder = adapted.path / "inputs" / "sound_"
    whole = PeftModel.from_pretrained(WhisperForConditionalGeneration.from_pretrained(tiny_speaker()), str(folder)).eval()
    assert {name.split(".")[3] for name, _ in whole.named_parameters() if "lora_B" in name} == {"encoder", "decoder"}
    ours = Pretrained(str(folder)).encoder()
    decoder, features = ours.decode(), torch.randn(2, 100, 16)
    before = torch.tensor([[281, 283, 5, 6]]).expand(2, -1)
    with torch.no_grad():
        wanted = whole(input_features=features.transpose(1, 2), decoder_input_ids=before).logits
        tokens = ours(sound=features, length=torch.tensor([100, 100]))
        found = decoder(tokens.x_BLD, tokens.mask_BL, decoder.words(ours.model)(before)) @ decoder.table(decoder.words(ours.model).weight).T
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-3)


def test_the_loss_is_that_of_transformers_whatever_lies_beside_a_row() -> None:
    asked = recipe(silence=0.1, n=12)
    model, prepared = ready(asked)
    model.eval()
    task = prepared.schema.tasks["words"]
    question = prepared.batches("train", 8).question(np.arange(8))
    batch, target = question.asked["words"]
    assert len(set(batch.inputs["sound"]["length"].tolist())) > 1
    theirs = WhisperForConditionalGeneration.from_pretrained(tiny_speaker()).eval()
    with torch.no_grad():
        p, loss = model.answers(question)["words"]
        for i in range(8):
            one = model.answers(question.part(i, i + 1))["words"][0]
            torch.testing.assert_close(one, p[i : i + 1], atol=1e-4, rtol=1e-4)
            labels = target["labels"][i][target["labels"][i] >= 0]
            x = model.encoders["sound_"]({k: v[i : i + 1] for k, v in batch.inputs["sound"].items()})
            ids = torch.cat([torch.tensor(task["start"]), labels[:-1]])[None]
            out = theirs(encoder_outputs=(x.x_BLD[x.mask_BL][None],), decoder_input_ids=ids).logits[0, len(task["start"]) - 1 :]
            torch.testing.assert_close(p[i, 0], torch.nn.functional.cross_entropy(out, labels, reduction="sum"), atol=1e-3, rtol=1e-4)
    assert loss.count == target["weight"].sum() and bool((target["labels"].max(1).values == task["end"]).all())


def test_what_is_written_is_what_transformers_finds_likeliest() -> None:
    model, prepared = ready(recipe(n=12))
    write = Listening(model.eval(), prepared.recipe, prepared.schema, "words")
    sounds = speech.rows(5, seconds=0.2, seed=9)
    theirs, facts = WhisperForConditionalGeneration.from_pretrained(tiny_speaker()).eval(), prepared.schema.tasks["words"]
    never = [*facts["never"], *range(facts["end"] + 1, 360)]
    for row, written in zip(sounds, write(sounds, Sampling(12, temperature=0)), strict=True):
        features = prepared.recipe.inputs["sound"].encode([row["sound"]], {})["sound"].transpose(1, 2)
        ids = list(facts["start"])
        for _ in range(12):
            with torch.no_grad():
                logits = theirs(input_features=features, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
            logits[never] = -torch.inf
            ids.append(int(logits.argmax()))
            if ids[-1] == facts["end"]:
                break
        assert list(written.tokens) == write.scribe.tokenizer.convert_ids_to_tokens(ids[len(facts["start"]) :])


def test_a_language_is_asked_for_and_must_be_known() -> None:
    several = str(tiny_speaker("en", "fr"))
    source = speech.rows(12, seconds=0.2)
    _, prepared = ready(speech.recipe(source, several, "tasks.words.language=fr", **FULL))
    assert prepared.schema.tasks["words"]["start"] == [281, 283, 284, 285]
    for wrong, override in (("'fe' is no language", "tasks.words.language=fe"), ("None is no language", "tasks.words.samples=1")):
        with pytest.raises(Mistake, match=wrong):
            ready(speech.recipe(source, several, override, **FULL))
    with pytest.raises(Mistake, match="English alone"):
        ready(recipe("tasks.words.language=fr"))


def test_times_rise_and_lie_in_the_sound(trained: Artifact) -> None:
    timed = Listening(
        trained.model, read(trained.recipe.to_dict() | {"data": {"from": [{}]}}, ["tasks.words.timestamps=true"]), trained.schema, "words"
    )
    for written in timed([{"sound": speech.said(["low", "high"] * 5, 0.2)}]):
        assert written.segments is not None
        times = [time for a, b, _ in written.segments for time in (a, b)]
        assert times == sorted(times) and all(0 <= time <= 2.6 for time in times)


def test_a_long_sound_is_heard_in_windows(trained: Artifact) -> None:
    long = speech.said(["low", "high", "mid", "low"] * 4, 0.2)
    write = Listening(trained.model, read(trained.recipe.to_dict() | {"data": {"from": [{}]}}, ["tasks.words.overlap=0.2"]), trained.schema, "words")
    windows = list(write._windows([{"sound": long}, {"sound": None}, {"sound": speech.said(["low"])}]))
    assert [row for row, _, _ in windows] == [0] * 5 + [2]
    places = [(round(w.start, 2), round(w.stop, 2), w.first, w.last) for _, w, _ in windows[:5]]
    assert places[:2] == [(0.0, 1.0, True, False), (0.8, 1.8, False, False)] and places[-1][1] == pytest.approx(4.0) and places[-1][3]
    assert all(read.shape[0] == 100 for _, _, read in windows)
    assert len(write([{"sound": long}])[0].text.split()) > 3


def test_windows_are_joined_where_they_say_the_same() -> None:
    left, right = ["please", "hold", "the", "line", "until"], ["The", "line,", "until", "somebody"]
    assert joined(left, right, 10) == ["please", "hold", "the", "line", "until", "somebody"]
    assert joined(["a", "b"], ["c"], 10) == ["a", "b", "c"] and joined([], ["a"], 10) == ["a"] and joined(["a"], [], 10) == ["a"]
    assert joined(["x", "a"], ["a", "y"], 0) == ["x", "a", "a", "y"]


def test_what_cannot_be_asked_is_counted(tmp_path: Path) -> None:
    source = speech.rows(30, seconds=0.2)
    source[0]["text"] = None
    source[1]["sound"] = None
    source[2]["sound"] = speech.said(["low"] * 4, 0.5)  # longer than is read
    source[3]["text"] = "a word and another " * 40
    source[4]["sound"] = speech.file(np.zeros(8000, np.float32))
    report = fit(speech.recipe(source, str(tiny_speaker()), "tasks.words.samples=0", **FULL), tmp_path / "run").report
    told = [caution["text"] for caution in report.warnings if caution["where"] == "tasks.words"]
    for words in ("2 have no transcript", "1 are longer than is read", "1 have a transcript that is longer", "1 are silence"):
        assert any(words in text for text in told), (words, [text[:60] for text in told])


@pytest.mark.parametrize(
    ("wrong", "backbone", "overrides", "audio"),
    [
        ("repeats itself", tiny_speaker, (), {"silence": None}),
        ("no decoder", tiny_ast, ("tasks.words.by=decoder",), {}),
        ("names no decoder_start_token_id", tiny_whisper, (), FULL),
        ("no stretches of time", tiny_ast, (), {}),
        ("without a layer of letters", tiny_whisper, ("tasks.words.by=letters", "tasks.words.letters=checkpoint"), {}),
        ("whatever language", tiny_speaker, ("tasks.words.by=letters", "tasks.words.language=en"), {}),
    ],
)
def test_what_cannot_write_is_refused(wrong: str, backbone: Any, overrides: tuple[str, ...], audio: dict[str, Any]) -> None:
    with pytest.raises(Mistake, match=wrong):
        ready(speech.recipe(speech.rows(12, seconds=0.2), str(backbone()), *overrides, **audio))


def test_a_transcript_of_nothing_is_refused() -> None:
    source = speech.rows(12, seconds=0.2)
    source[3]["text"] = "  "
    with pytest.raises(Mistake, match="no training row has a transcript"):
        ready(speech.recipe([row | {"text": None} for row in source], str(tiny_speaker()), **FULL))
    with pytest.raises(Mistake, match=r"tasks\.words\.of.*no audio input"):
        read(recipe().to_dict() | {"data": {"from": source}, "tasks": {"words": {"kind": "transcribe", "of": "text", "target": "text"}}})


def test_a_classifier_beside_it_shares_its_forward_pass() -> None:
    source = [row | {"first": row["text"].split()[0]} for row in speech.rows(20, seconds=0.2)]
    asked = recipe().to_dict() | {"data": {"from": source}}
    asked["tasks"]["first"] = {"kind": "classify", "target": "first"}
    model, prepared = ready(read(asked))
    question = prepared.batches("train", 8).question(np.arange(8))
    assert question.asked["words"][0] is question.asked["first"][0]
    calls: list[int] = []
    model.encoders["sound_"].register_forward_hook(lambda *_: calls.append(1))
    assert set(model.losses(question)) == {"words", "first"} and len(calls) == 1
