"""Speech letter by letter (CTC): the loss and the search are those of the definition, from nothing and by a checkpoint's own letters; in windows."""

import itertools
from pathlib import Path as Folder
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2ForCTC

import speech
from checkpoints import tiny_speaker, tiny_speller
from omnitune import Artifact, Control, Mistake, Sampling, fit
from omnitune.nn.ctc import collapsed, frames
from omnitune.nn.letters import Letters, Path, aligned, searched
from omnitune.nn.scribe import Window
from omnitune.recipe import read
from omnitune.training.listening import Listening
from runs import ready

SMALL = {"kind": "spectrogram", "depth": 1, "width": 48, "patch": 2, "bins": 24, "dropout": 0.0}
BLANK = 0


def chances(tokens: int, letters: int, seed: int = 0) -> Any:
    return torch.randn(tokens, letters, generator=torch.Generator().manual_seed(seed)).mul(2).log_softmax(1).numpy()


def ways(said: Any) -> dict[tuple[int, ...], float]:
    """The probability of each transcript, all paths counted."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(said.shape[1]), repeat=len(said)):
        letters = tuple(letter for letter, _, _ in collapsed(list(path), BLANK))
        found[letters] = found.get(letters, 0.0) + float(np.exp(sum(said[i, letter] for i, letter in enumerate(path))))
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    source = speech.rows(60)
    asked = speech.recipe(source, SMALL, "train.epochs=60", "train.validate_every=60", "tasks.words.timestamps=true", max_seconds=1.2)
    return fit(asked, tmp_path_factory.mktemp("letters") / "run")


def test_letters_are_learned_from_nothing(trained: Artifact) -> None:
    assert trained.schema.tasks["words"]["letters"] == ["", *sorted(set("lowmidhigh "))]
    task = trained.report.tasks["words"]
    tokens, texts = task["metrics"]["models"], task["written"]["metrics"]["models"]
    assert tokens["after"]["bits_per_byte"]["value"] < tokens["constant"]["bits_per_byte"]["value"] < tokens["before"]["bits_per_byte"]["value"]
    assert texts["after"]["wer"]["value"] < 0.4 < 0.9 < texts["before"]["wer"]["value"]


def test_it_tells_when_each_word_is_said(trained: Artifact) -> None:
    answer = trained.predict({"sound": speech.said(["low", "high"], seed=70)})["words"]
    assert answer["value"] == "low high"
    (a, b), words = [(s["start"], s["end"]) for s in answer["segments"]], [s["text"] for s in answer["segments"]]
    assert words == ["low", "high"] and 0 <= a[0] < a[1] <= b[0] < b[1] <= 0.7 and a[0] < 0.3 and b[1] > 0.35
    assert [letter for letter, _ in answer["tokens"]] == list("low high") and all(0 < chance <= 1 for _, chance in answer["tokens"])
    assert trained.predict({"sound": None})["words"]["value"] == ""
    beam = trained.predict({"sound": speech.said(["low", "high"], seed=70)}, sampling=Sampling(temperature=0, num_beams=4))["words"]
    assert beam["value"] == "low high" and [s["text"] for s in beam["segments"]] == ["low", "high"]
    with pytest.raises(Mistake, match="found, not drawn"):
        trained.predict({"sound": speech.said(["low"])}, sampling=Sampling(temperature=1.0))
    with pytest.raises(Mistake, match="what is heard is written down as it is"):
        trained.predict({"sound": speech.said(["low"])}, sampling=Sampling(temperature=0, control=Control(min_tokens=1)))


def test_a_long_sound_is_read_in_windows_that_tell_what_is_their_own(trained: Artifact) -> None:
    words = ["low", "high", "mid", "high", "low", "low", "mid"] * 3
    long = speech.said(words, seed=5)
    write = Listening(trained.model, read(trained.recipe.to_dict() | {"data": {"from": [{}]}}, ["tasks.words.overlap=0.6"]), trained.schema, "words")
    (written,) = write([{"sound": long}])
    assert written.segments is not None and [text for _, _, text in written.segments] == written.text.split()
    times = [time for a, b, _ in written.segments for time in (a, b)]
    assert times == sorted(times) and times[-1] > 6.5


def test_the_loss_is_minus_the_log_of_all_ways_to_say_it() -> None:
    model, prepared = ready(speech.recipe(speech.rows(12), SMALL, max_seconds=2))
    model.eval()
    question = prepared.batches("train", 8).question(np.arange(8))
    batch, target = question.asked["words"]
    with torch.no_grad():
        p, loss = model.answers(question)["words"]
        tokens = model.encoders["sound_"](batch.inputs["sound"])
        said = model.head("words").log_probabilities(tokens)
    lengths = tokens.mask_BL.sum(1)
    assert lengths.tolist() == frames(batch.inputs["sound"]["length"], prepared.schema.tasks["words"]["steps"]).tolist()
    for i in range(8):
        labels = target["labels"][i][target["labels"][i] >= 0].tolist()
        states = [0, *(n for letter in labels for n in (letter, 0))]
        forward = np.full(len(states), -np.inf)
        forward[:2] = said[i, 0, states[:2]]
        for place in range(1, int(lengths[i])):
            before = forward.copy()
            for s, state in enumerate(states):
                came = [before[s], *([before[s - 1]] if s else []), *([before[s - 2]] if s > 1 and state and state != states[s - 2] else [])]
                forward[s] = np.logaddexp.reduce(came) + float(said[i, place, state])
        assert float(p[i, 0]) == pytest.approx(-np.logaddexp(forward[-1], forward[-2]), rel=1e-4)
    assert float(loss.sum) == pytest.approx(float(p[:, 0].sum()), rel=1e-5) and loss.count == target["weight"].sum()


def test_every_moment_is_told_by_one_window_and_a_letter_on_a_border_once() -> None:
    windows = [Window(0, 2, True, False, 0.5), Window(1.5, 3.5, False, False, 0.5), Window(3.0, 4.2, False, True, 0.5)]
    assert [sum(window.owns(seconds) for window in windows) for seconds in np.arange(0, 4.2, 0.01)] == [1] * 420
    _, prepared = ready(speech.recipe(speech.rows(12), SMALL, max_seconds=2))
    scribe = Letters(ready(speech.recipe(speech.rows(12), SMALL, max_seconds=2))[0].head("words"), prepared.schema.tasks["words"], True)
    first, o, w = (scribe.letters.index(letter) for letter in "low")
    border = [(windows[0], Path([first, o], [0.1, 1.7], [0.2, 1.76], [1.0, 1.0])), (windows[1], Path([o, w], [1.75, 1.8], [1.78, 2.0], [1.0, 1.0]))]
    assert scribe.joined(border).text == "low" and scribe.joined(border).segments == ((0.1, 2.0, "low"),)
    apart = [border[0], (windows[1], Path([o, w], [1.9, 2.0], [1.95, 2.2], [1.0, 1.0]))]
    assert scribe.joined(apart).text == "loow"


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_search_finds_the_likeliest_transcript(seed: int) -> None:
    said = chances(5, 4, seed)
    found = ways(said)
    best = max(found, key=lambda letters: found[letters])
    assert tuple(searched(said, BLANK, 500)) == best
    path = aligned(said, best, BLANK)
    assert tuple(letter for letter, _, _ in collapsed(path, BLANK)) == best
    paths = [p for p in itertools.product(range(4), repeat=5) if tuple(letter for letter, _, _ in collapsed(list(p), BLANK)) == best]
    score = lambda p: sum(said[i, letter] for i, letter in enumerate(p))  # noqa: E731
    assert score(path) == pytest.approx(max(map(score, paths)), abs=1e-5)
    assert aligned(said, [], BLANK) == [BLANK] * 5


def test_paths_collapse() -> None:
    assert collapsed([0, 1, 1, 0, 1, 2, 2, 0], BLANK) == [(1, 1, 3), (1, 4, 5), (2, 5, 7)] and collapsed([], BLANK) == []


def test_a_checkpoint_spells_with_its_own_letters() -> None:
    folder = tiny_speller()
    model, prepared = ready(speech.recipe(speech.rows(12), str(folder), max_seconds=2))
    facts = prepared.schema.tasks["words"]
    assert facts["trained"] and facts["letters"][facts["blank"]] == "<pad>" and facts["letters"][facts["space"]] == "|"
    question = prepared.batches("train", 8).question(np.arange(4))
    labels = question.asked["words"][1]["labels"][0]
    text = prepared.table.take("text", [0])[0]
    assert "".join(facts["letters"][n] for n in labels[labels >= 0].tolist()).replace("|", " ") == text.upper()
    theirs = Wav2Vec2ForCTC.from_pretrained(folder).eval()
    inputs = prepared.recipe.inputs["sound"].encode([speech.said(["low"])], {})
    with torch.no_grad():
        found = model.eval().head("words").log_probabilities(model.encoders["sound_"](inputs))
        torch.testing.assert_close(found, theirs(inputs["sound"]).logits.log_softmax(2), atol=1e-4, rtol=1e-4)
    _, other = ready(speech.recipe(speech.rows(12), str(folder), "tasks.words.letters=learned", max_seconds=2))
    assert not other.schema.tasks["words"]["trained"] and other.schema.tasks["words"]["letters"][0] == ""


def test_a_decoder_may_stand_aside() -> None:
    model, prepared = ready(speech.recipe(speech.rows(12, seconds=0.2), str(tiny_speaker()), "tasks.words.by=letters"))
    assert model.backbones["sound"].lm_head is None and "letters" in prepared.schema.tasks["words"]
    assert bool(model.losses(prepared.batches("train", 8).question(np.arange(8)))["words"].sum > 0)


def test_what_letters_cannot_say_is_counted(tmp_path: Folder) -> None:
    source = [row | {"part": "train"} for row in speech.rows(30)]
    source[0]["text"] = "low" * 60
    source[1]["sound"] = speech.said(["low"] * 7)
    source[2]["text"] = None
    source[3]["sound"] = speech.file(np.zeros(8000, np.float32))
    asked = speech.recipe(source, SMALL, "tasks.words.samples=0", max_seconds=1.2)
    report = fit(asked, tmp_path / "run").report
    told = [caution["text"] for caution in report.warnings if caution["where"] == "tasks.words"]
    for words in (
        "1 have a transcript that is longer",
        "1 are longer than is read",
        "1 have no",
        "1 are silence",
    ):
        assert any(words in text for text in told), (words, [text[:60] for text in told])


def test_letters_that_no_training_row_has_are_left_out_and_counted() -> None:
    asked = speech.recipe(speech.rows(12), SMALL, max_seconds=2)
    _, prepared = ready(asked)
    batch, facts = prepared.batches("train", 8).question(np.arange(3)).asked["words"][0], prepared.schema.tasks["words"]
    target = asked.tasks["words"].prepare(batch, {"text": ["low ž", "ž", "low"]}, facts, None)[1]
    assert target["why"].tolist() == [5, 5, 0] and target["weight"].tolist() == [4, 0, 3]


def test_error_rates_are_watched_in_every_round_and_may_stop_it(tmp_path: Folder) -> None:
    changes = ("train.epochs=4", "train.patience=1", "train.stop_on=words.wer", "tasks.words.written=6", "tasks.words.samples=0")
    run = fit(speech.recipe(speech.rows(40), SMALL, *changes, max_seconds=1.2), tmp_path / "run")
    lines = (tmp_path / "run" / "log.csv").read_text().splitlines()
    place = lines[0].split(",").index("validation.words.wer")
    seen = [line.split(",")[place] for line in lines[1:] if line.split(",")[place]]
    assert 2 <= len(seen) <= 4 and all(float(value) >= 0 for value in seen)
    assert "written" not in run.report.tasks["words"] and "words.wer" in run.report.cost["stopped"]
    for wrong in (("train.stop_on=words.wer",), ("train.stop_on=words.wer", "tasks.words.written=6", "tuning=auto")):
        with pytest.raises(Mistake, match=r"train\.stop_on: 'words\.wer' is not measured"):
            speech.recipe(speech.rows(4), SMALL, *wrong)
