"""Sounds: every kind of file, damaged and odd ones, and what each checkpoint hears of a clip, alone or beside others."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.backbones.spectrogram import Spectrogram
from omnitune.commands.fit import fit
from omnitune.data.audit import readable
from omnitune.data.media import identity, open_media
from omnitune.data.table import read as read_table
from omnitune.errors import Mistake
from omnitune.modalities import audio as module
from omnitune.modalities._sound import length, read
from omnitune.modalities.audio import Audio
from omnitune.recipe import read as read_recipe
from sounds import RATE, Wave, file, tone


def audio(name: str = "whisper", **more: Any) -> Audio:
    return Audio(str(checkpoints.SOUND[name]()), **({"silence": 0.0} | more))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


TONE = tone(0.5)
STEREO = np.stack([tone(0.5), tone(0.5, hertz=660)], 1)


@pytest.mark.parametrize(
    ("data", "wanted", "near"),
    [
        pytest.param(file(TONE), TONE, 1e-4, id="wav, 16 bits"),
        pytest.param(file(TONE, subtype="PCM_U8"), TONE, 1e-2, id="wav, 8 bits"),
        pytest.param(file(TONE, subtype="PCM_24"), TONE, 1e-6, id="wav, 24 bits"),
        pytest.param(file(TONE, subtype="PCM_32"), TONE, 1e-6, id="wav, 32 bits"),
        pytest.param(file(TONE, subtype="FLOAT"), TONE, 0, id="wav, floats"),
        pytest.param(file(TONE, subtype="ULAW"), TONE, 2e-2, id="wav, telephone"),
        pytest.param(file(TONE, form="FLAC"), TONE, 1e-4, id="flac"),
        pytest.param(file(TONE, form="AIFF"), TONE, 1e-4, id="aiff"),
        pytest.param(file(TONE, form="OGG"), TONE, 0.05, id="ogg vorbis"),
        pytest.param(file(STEREO), STEREO.mean(1), 1e-4, id="stereo"),
        pytest.param(file(np.repeat(TONE[:, None], 32, 1)), TONE, 1e-4, id="32 channels"),
    ],
)
def test_every_kind_of_file_is_read(data: bytes, wanted: Wave, near: float) -> None:
    made = read(data, RATE, 30, None)
    assert made.dtype == np.float32 and made.shape == wanted.shape
    assert np.abs(made - wanted).max() <= near
    assert audio().check(data) is None and length(data, None) == 0.5


@pytest.mark.parametrize(("form", "subtype", "rate"), [("MP3", None, 16_000), ("OGG", "OPUS", 48_000)])
def test_files_that_come_with_a_delay_sound_the_same(form: str, subtype: str | None, rate: int) -> None:
    made = read(file(tone(0.5, rate), rate, form, subtype), RATE, 30, None)
    heard, wanted = (np.abs(np.fft.rfft(x, RATE)) for x in (made, TONE))
    assert abs(len(made) - len(TONE)) < 0.1 * RATE and heard.argmax() == wanted.argmax() == 440


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000])
def test_every_rate_becomes_that_of_the_checkpoint(rate: int) -> None:
    made = read(file(tone(0.5, rate), rate, subtype="FLOAT"), RATE, 30, None)
    assert abs(len(made) - len(TONE)) <= 1
    inside = slice(400, 7600)
    assert np.abs(made[inside] - TONE[inside]).max() < 1e-3


def test_what_a_rate_cannot_hold_is_not_folded_into_it() -> None:
    high = read(file(tone(0.5, 44_100, 10_000), 44_100, subtype="FLOAT"), RATE, 30, None)
    assert np.abs(high[400:-400]).max() < 1e-4


PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(500)
NAN = TONE.copy()
NAN[76] = np.nan


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"not a sound at all" * 50, "not a sound"),
        (rng().bytes(5000), "not a sound"),
        (PICTURE, "not a sound"),
        (file(TONE[:0]), "0 samples"),
        (file(TONE)[:44], "damaged"),
        (file(TONE)[:-2], "damaged"),
        (file(TONE)[:4000], "damaged"),
        (file(TONE, form="AIFF")[:4000], "damaged"),
        (file(TONE, form="FLAC")[:2000], "damaged"),
        (file(TONE, form="OGG")[:2000], "damaged"),
        (file(NAN, subtype="FLOAT"), "sample 77 is no finite number"),
        (file(np.full_like(TONE, np.inf), subtype="FLOAT"), "no finite number"),
        (file(TONE * 32_768, subtype="FLOAT"), "full scale is 1"),
    ],
    ids=["empty", "text", "noise", "picture", "no sample", "head", "wav, one short", "wav", "aiff", "flac", "ogg", "nan", "infinite", "unscaled"],
)
def test_what_cannot_be_read_is_named(data: bytes, words: str) -> None:
    problem = audio().check(data)
    assert problem is not None and words in problem and "0x" not in problem
    with pytest.raises(Mistake, match=words):
        read(data, RATE, 30, None)


def test_damage_behind_what_is_read_does_not_matter_but_flac_inside_does() -> None:
    data = bytearray(file(tone(3, seed=1), form="FLAC"))
    data[-200] ^= 0xFF
    assert audio(max_seconds=0.5).check(bytes(data)) is None
    with pytest.raises(Mistake, match="damaged"):
        read(bytes(data), RATE, 30, None)


def test_an_hour_is_cut_and_told_and_a_wav_of_unknown_size_is_read() -> None:
    hour = file(np.zeros(3600 * 8000, np.int16), 8000)
    modality = audio()
    assert modality.encode([hour], {})["length"].tolist() == [100]
    assert modality.learn([hour, file(TONE), None]) == {"cut": 0.5}
    streamed = bytearray(file(TONE))
    streamed[4:8] = streamed[40:44] = b"\xff\xff\xff\xff"
    assert len(read(bytes(streamed), RATE, 30, None)) == len(TONE)


def test_all_bad_rows_are_told_at_once_and_a_missing_cell_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(file(TONE))
    (tmp_path / "b.wav").write_bytes(file(TONE, form="MP3"))  # its name says something else; what counts is what it holds
    (tmp_path / "c.wav").write_bytes(PICTURE)
    (tmp_path / "d.flac").write_bytes(b"")
    (tmp_path / "e.wav").write_bytes(file(TONE[:0]))
    names = ["a.wav", "b.wav", "c.wav", "d.flac", "e.wav", "", "f.wav"]
    (tmp_path / "table.csv").write_text("sound,y\n" + "\n".join(f"{name},{i % 2}" for i, name in enumerate(names)))
    recipe = read_recipe({
        "data": {"from": str(tmp_path / "table.csv")}, "inputs": {"sound": {"kind": "audio"}}, "tasks": {"y": {"kind": "classify", "target": "y"}},
    })  # fmt: skip
    with pytest.raises(Mistake) as caught:
        readable(recipe, read_table(tmp_path / "table.csv"))
    said = str(caught.value)
    for row, words in {4: "not a sound", 5: "0 bytes", 6: "0 samples", 8: "no file 'f.wav'"}.items():
        assert any(f"line {row}" in line and words in line for line in said.splitlines()), (row, said)
    assert "line 2" not in said and "line 3" not in said and "line 7" not in said


# Samples in the table


def test_samples_with_their_rate_are_a_file() -> None:
    high = tone(0.5, 44_100)
    for array in (high, high.tolist(), (high * 32_767).astype(np.int16), high.astype(np.float64)):
        data = open_media({"array": array, "sampling_rate": 44_100, "path": "nowhere.wav"}, None)
        assert data == open_media({"array": array, "sampling_rate": 44_100}, None)
        assert np.abs(read(data, RATE, 30, None) - read(file(high, 44_100, subtype="FLOAT"), RATE, 30, None)).max() < 1e-4
    both = open_media({"array": STEREO.T, "sampling_rate": RATE}, None)  # as librosa has channels
    np.testing.assert_allclose(read(both, RATE, 30, None), STEREO.mean(1), atol=1e-6)
    assert identity({"array": high, "sampling_rate": 8000}, None) != identity({"array": high, "sampling_rate": 8001}, None)


def test_a_list_of_samples_has_the_rate_that_is_set() -> None:
    data = open_media(tone(0.5, 8000).tolist(), None)
    assert "`rate`" in (audio().check(data) or "")
    assert audio(rate=8000).check(data) is None
    assert abs(audio(rate=8000).encode([data], {})["length"].item() - 50) <= 1
    assert length(data, 8000) == 0.5


@pytest.mark.parametrize(
    ("value", "words"),
    [({"array": [0.1, "a"], "sampling_rate": 8000}, "something else than numbers"), ({"array": [], "sampling_rate": 8000}, "0 samples"),
     ({"array": [0.1], "sampling_rate": None}, "sampling_rate"), ({"array": [[[0.1]]], "sampling_rate": 8000}, "shape"),
     ([None, 0.5], "something else than numbers")],
)  # fmt: skip
def test_what_is_no_samples_is_named(value: Any, words: str) -> None:
    with pytest.raises(Mistake, match=words):
        open_media(value, None)


# What a checkpoint hears

CLIPS = {"50 ms": 0.05, "short": 0.37, "whole": 1.0, "one sample": 1 / RATE}


@pytest.mark.parametrize("seconds", [*CLIPS.values(), 0.9999, 1.7], ids=str)
def test_whisper_hears_what_its_extractor_makes(seconds: float) -> None:
    x = tone(seconds, seed=1)
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(checkpoints.tiny_whisper())
    wanted = torch.from_numpy(extractor(x, sampling_rate=RATE, return_tensors="np").input_features[0]).T
    data = file(x, subtype="FLOAT")
    full, own = (audio(full_length=full).encode([data], {})["sound"][0] for full in (True, False))
    torch.testing.assert_close(full, wanted, atol=2e-5, rtol=0)
    assert len(own) == min(100, 2 * int(np.ceil(len(x) / 320)))
    torch.testing.assert_close(own, wanted[: len(own)], atol=2e-5, rtol=0)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.64, 2.0], ids=str)
def test_ast_hears_what_its_extractor_makes(seconds: float) -> None:
    x = tone(seconds, seed=1)
    extractor = transformers.ASTFeatureExtractor.from_pretrained(checkpoints.tiny_ast())
    wanted = torch.from_numpy(extractor(x, sampling_rate=RATE, return_tensors="np").input_values[0])
    data = file(x, subtype="FLOAT")
    full, own = (audio("ast", full_length=full).encode([data], {})["sound"][0] for full in (True, False))
    torch.testing.assert_close(full, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(own, wanted[: len(own)], atol=1e-4, rtol=0)
    heard = 1 + (len(x) - 400) // 160
    assert len(own) == min(64, 16 + 10 * max(0, int(np.ceil((heard - 16) / 10))))


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2_layer", "hubert"])
def test_waves_are_heard_as_their_extractor_makes_them(name: str) -> None:
    x = tone(0.1, seed=1)
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(checkpoints.SOUND[name]())
    wanted = extractor(x, sampling_rate=RATE, return_tensors="np").input_values[0]
    np.testing.assert_allclose(audio(name).encode([file(x, subtype="FLOAT")], {})["sound"][0].numpy(), wanted, atol=1e-5)


def theirs(name: str, data: bytes) -> torch.Tensor:
    """Tokens of the model of transformers, on a clip alone, filled up as its extractor fills it up."""
    folder = checkpoints.SOUND[name]()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        given = extractor(read(data, RATE, 30, None), sampling_rate=RATE, return_tensors="pt")
        model = model.get_encoder() if name == "whisper" else model
        made: torch.Tensor = model(given[extractor.model_input_names[0]]).last_hidden_state[0]
    return made


@pytest.mark.parametrize("name", checkpoints.SOUND)
def test_tokens_are_those_of_transformers(name: str) -> None:
    data = file(tone(0.3, seed=2), subtype="FLOAT")
    modality = audio(name, full_length=name in ("whisper", "ast"))
    with torch.no_grad():
        made = modality.encoder({}).eval()(modality.encode([data, None, data], {}))
    assert made.mask_BL.all(1).tolist() == [True, False, True]
    torch.testing.assert_close(made.x_BLD[2], theirs(name, data), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["whisper", "ast", "hubert"])
def test_silence_behind_a_clip_is_read_where_it_is_asked_for(name: str) -> None:
    data = file(tone(0.2, seed=2), subtype="FLOAT")
    plain, more = (audio(name, silence=silence).encode([data], {}) for silence in (0.0, 0.2))
    had, has = int(plain["length"]), int(more["length"])
    assert has - had == {"whisper": 20, "ast": 20, "hubert": 3200}[name]
    torch.testing.assert_close(more["sound"][0, :had], plain["sound"][0], atol=1e-6, rtol=0)
    assert more["sound"][0, had + 2 :].std(0).max() < 1e-6


def test_whisper_alone_hears_a_second_of_silence_where_nothing_is_said() -> None:
    data = [file(tone(0.2))]
    lengths = [int(Audio(str(folder())).encode(data, {})["length"]) for folder in (checkpoints.tiny_whisper, checkpoints.tiny_hubert)]
    assert lengths == [100, 3200], "the tiny one hears a second at a time"


@pytest.mark.parametrize("name", ["whisper", "ast"])
def test_a_clip_as_long_as_the_checkpoint_hears_is_read_the_same_either_way(name: str) -> None:
    data = file(tone(1.2, seed=2), subtype="FLOAT")
    with torch.no_grad():
        one, other = (m.encoder({}).eval()(m.encode([data], {})).x_BLD for m in (audio(name), audio(name, full_length=True)))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [*checkpoints.SOUND, "spectrogram"])
def test_a_clip_gives_the_same_beside_any_others(name: str) -> None:
    modality = Audio("spectrogram") if name == "spectrogram" else audio(name)
    clips = [file(tone(seconds, seed=i)) for i, seconds in enumerate([0.3, 0.05, 0.3, 0.61, 0.2])] + [None]
    torch.manual_seed(0)
    encoder = modality.encoder({}).eval()
    with torch.no_grad():
        made = encoder(modality.encode(clips, {}))
        for i, clip in enumerate(clips[:-1]):
            alone = encoder(modality.encode([clip], {}))
            L = alone.x_BLD.shape[1]
            assert made.mask_BL[i].sum() == L and not made.x_BLD[i, L:].any()
            torch.testing.assert_close(made.x_BLD[i, :L], alone.x_BLD[0], atol=1e-5, rtol=1e-5)


def test_a_short_clip_does_not_cost_the_whole_length() -> None:
    modality = audio()
    encoder, seen = modality.encoder({}).eval(), []
    encoder.backbone.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[:2])))
    encoder(modality.encode([file(tone(s)) for s in (0.1, 0.1, 0.5)], {}))
    assert seen == [(2, 5), (1, 25)], "tokens of 20 ms, two clips of one length at once"


@pytest.mark.parametrize("name", checkpoints.SOUND)
def test_silence_is_read(name: str) -> None:
    modality = audio(name)
    with torch.no_grad():
        made = modality.encoder({}).eval()(modality.encode([file(np.zeros(4000))], {}))
    assert made.x_BLD.isfinite().all() and made.present.all()


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "whisper"])
def test_training_draws_nothing_of_its_own(name: str) -> None:
    """transformers' wav2vec 2.0 hides stretches by numpy's global generator, which no seed of a run reaches."""
    modality = audio(name)
    encoder = modality.encoder({})
    encoder.backbone.set_dropout(0.0, 0.0)
    given, state = modality.encode([file(tone(0.3, seed=1))], {}), np.random.get_state()[1].copy()
    encoder.train()
    trained, plain = encoder(given).x_BLD, encoder.eval()(given).x_BLD
    torch.testing.assert_close(trained, plain)
    assert (np.random.get_state()[1] == state).all()


def test_settings_that_the_checkpoint_cannot_follow_are_named() -> None:
    with pytest.raises(Mistake, match="hears 1 seconds at a time"):
        audio(max_seconds=2.0).learn([file(TONE)])
    with pytest.raises(Mistake, match="not trained on clips of one length"):
        audio("hubert", full_length=True).learn([file(TONE)])
    with pytest.raises(Mistake, match="hears no sound"):
        Audio(str(checkpoints.tiny_vit())).learn([file(TONE)])
    with pytest.raises(Mistake, match="hears no sound"):
        Audio({"kind": "vit"}).learn([file(TONE)])  # type: ignore[arg-type]
    assert "do not divide" in (Spectrogram(width=30, heads=4).check() or "")


def test_what_is_saved_is_read_again_with_its_settings(tmp_path: Path) -> None:
    for name in checkpoints.SOUND:
        backbone = Pretrained(str(checkpoints.SOUND[name]()))
        backbone.save_processor(tmp_path / name)
        backbone.encoder().save(tmp_path / name, weights=True)
        again = Pretrained(str(tmp_path / name))
        assert again.sound() == backbone.sound()
        (tmp_path / name / "preprocessor_config.json").unlink()
        bare = Pretrained(str(tmp_path / name))
        bare.save_processor(tmp_path / f"{name} bare")
        assert (tmp_path / f"{name} bare" / "preprocessor_config.json").is_file()
        state, wanted = again.encoder().model.state_dict(), backbone.encoder().model.state_dict()
        assert all(torch.equal(state[key], weight) for key, weight in wanted.items())


# Augmentation


@pytest.mark.parametrize("name", ["whisper", "hubert"])
@pytest.mark.parametrize("setting", [{"time_masks": 2, "time_mask": 0.1}, {"band_masks": 1}, {"noise": 10.0}, {"shift": 0.2}], ids=str)
def test_each_setting_changes_what_training_hears_and_nothing_else(name: str, setting: dict[str, Any]) -> None:
    modality, data = audio(name, **setting), [file(tone(0.5, seed=i)) for i in range(4)] + [None]
    plain = modality.encode(data, {})
    assert modality.augments and all(torch.equal(plain[k], t) for k, t in audio(name).encode(data, {}).items())
    first, again, other = (modality.encode(data, {}, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first["sound"], again["sound"]) and not torch.equal(first["sound"], other["sound"])
    assert torch.equal(first["length"], plain["length"]) and not torch.equal(first["sound"][:4], plain["sound"][:4])


def test_masks_hide_stretches_of_time_and_bands() -> None:
    data = [file(tone(0.8, seed=1))]
    plain = audio().encode(data, {})["sound"][0]
    for setting, dim, most in (({"time_masks": 1, "time_mask": 0.1}, 1, 10), ({"band_masks": 1, "band_mask": 0.25}, 0, 4)):
        widths = set()
        for seed in range(30):
            made = audio(**setting).encode(data, {}, rng(seed))["sound"][0]
            changed = (made != plain).any(dim).nonzero().flatten()
            widths.add(len(changed))
            assert not len(changed) or len(changed) == changed[-1] - changed[0] + 1
            assert not len(changed) or made.movedim(1 - dim, 0)[changed].unique().numel() == 1
        assert max(widths) == most and min(widths) == 0


def test_a_shift_moves_the_clip() -> None:
    click = np.zeros(8000, np.float32)
    click[4000] = 0.9
    places = {int(audio("hubert", shift=0.1).encode([file(click)], {}, rng(seed))["sound"][0].argmax()) for seed in range(20)}
    assert len(places) > 10 and min(places) >= 4000 - 1600 and max(places) <= 4000 + 1600


def test_noise_has_the_level_that_is_set() -> None:
    x = tone(0.5)
    for seed in range(5):
        made = module.Audio(str(checkpoints.tiny_hubert()), noise=20.0)._augmented(torch.from_numpy(x), rng(seed)).numpy() - x
        ratio = 10 * np.log10((x**2).mean() / (made**2).mean())
        assert 19 < ratio < 41


def test_fixed_views_take_turns_and_depend_on_the_clip_alone() -> None:
    modality, data = audio(time_masks=2, views=3), [file(tone(0.5, seed=i)) for i in range(3)]
    together, alone = modality.encode(data, {}, rng(1))["sound"], modality.encode(data[1:2], {}, rng(1))["sound"]
    assert modality.fixed_views == 3 and torch.equal(together[1:2], alone)


# The whole way


def table_of_sounds(folder: Path, n: int = 60) -> Path:
    """High and low tones of many lengths, and which is which."""
    for i in range(n):
        (folder / f"{i}.wav").write_bytes(file(tone(0.1 + 0.01 * (i % 40), hertz=3000 if i % 2 else 300, seed=i)))
    (folder / "table.csv").write_text("sound,y\n" + "\n".join(f"{i}.wav,{'high' if i % 2 else 'low'}" for i in range(n)))
    return folder / "table.csv"


@pytest.mark.parametrize("backbone", ["whisper", "spectrogram"])
def test_a_run_learns_and_predicts(backbone: str, tmp_path: Path) -> None:
    settings = {"backbone": str(checkpoints.tiny_whisper()) if backbone == "whisper" else {"kind": "spectrogram", "depth": 2, "width": 32}}
    recipe = read_recipe({
        "data": {"from": str(table_of_sounds(tmp_path)), "split": [0.6, 0.2, 0.2]}, "inputs": {"sound": {"kind": "audio", **settings}},
        "tasks": {"y": {"kind": "classify", "target": "y"}}, "tuning": "full", "train": {"epochs": 15, "batch": 8, "lr": 3e-3, "cache": 0.1},
    })  # fmt: skip
    run = fit(recipe, tmp_path / "run")
    assert run.report.value("y", "accuracy") > 0.9
    assert run.report.tasks["y"]["metrics"]["models"]["simple"]["accuracy"]["value"] > 0.9, "the outline tells high from low"
    x = tone(0.3, hertz=3000, seed=99)
    said = run.predict([{"sound": {"array": x.tolist(), "sampling_rate": RATE}}, {"sound": file(tone(0.2, hertz=300))}, {"sound": None}])
    assert [one["y"]["value"] for one in said[:2]] == ["high", "low"] and "error" not in said[2]
    from omnitune.artifact import load

    again = load(tmp_path / "run").predict([{"sound": {"array": x.tolist(), "sampling_rate": RATE}}])
    assert again[0]["y"]["probabilities"] == pytest.approx(said[0]["y"]["probabilities"], abs=1e-5)


def test_files_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnitune.data.prepared import prepare
    from omnitune.modalities import _sound

    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path / "cache"))
    recipe = read_recipe({
        "data": {"from": str(table_of_sounds(tmp_path, 20)), "split": [0.8, 0.2, 0]},
        "inputs": {"sound": {"kind": "audio", "time_masks": 1}}, "tasks": {"y": {"kind": "classify", "target": "y"}},
    })  # fmt: skip
    import os

    for path in tmp_path.glob("*.wav"):  # old enough to be known by their times
        os.utime(path, (1e9, 1e9))
    opened: list[int] = []
    right = _sound.read
    monkeypatch.setattr(_sound, "read", lambda *given: opened.append(1) or right(*given))
    seen = []
    for _ in range(2):
        prepared = prepare(recipe)
        prepared.decoded["sound"].keep(prepared.parts)
        for epoch in range(2):
            seen.append([q.asked["y"][0].inputs["sound"]["sound"] for q in prepared.batches("train", 4, 0).epoch(epoch)])
        prepared.close()
    assert all(torch.equal(a, b) for a, b in zip(seen[0], seen[2], strict=True)) and not torch.equal(seen[0][0], seen[1][0])
    assert len(opened) <= 2 * 20, "once to look at, once to keep"


def test_an_outline_tells_loud_bands_and_missing_clips() -> None:
    low, none, high = audio().outline(iter([file(tone(0.3, hertz=300)), None, file(tone(0.3, hertz=5000))]))
    assert np.isnan(none).all() and low[:40].argmax() < 15 < 30 < high[:40].argmax()
    assert audio("ast").outline([]).shape == (0, 80)


def test_examples_are_wav_files() -> None:
    assert all(isinstance(io.BytesIO(one), io.BytesIO) and one[:4] == b"RIFF" for one in Audio().example(3, rng()))


@pytest.mark.slow
def test_whisper_knows_a_language_that_it_was_not_taught(tmp_path: Path) -> None:
    """Real prompts in five languages through the real encoder; guessing is right in a fifth."""
    recipe = read_recipe({
        "data": {"from": "sample:phone-prompts#300", "split": [0.5, 0.1, 0.4]},
        "inputs": {"audio": {"kind": "audio", "backbone": "sample:whisper-tiny-en", "max_seconds": 3}},
        "tasks": {"language": {"kind": "classify", "target": "language"}}, "tuning": "probe", "train": {"epochs": 20},
    })  # fmt: skip
    run = fit(recipe, tmp_path / "run")
    assert run.report.value("language", "accuracy") > 0.5


@pytest.mark.slow
def test_the_real_whisper_writes_what_it_hears() -> None:
    from omnitune import samples

    folder = samples.path("whisper-tiny-en")
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    extractor, words = transformers.WhisperFeatureExtractor.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    data = (samples.path("phone-prompts") / "audio" / "en" / "agent-alreadyon.wav").read_bytes()
    given = extractor(read(data, RATE, 30, None), sampling_rate=RATE, return_tensors="pt").input_features
    said = words.decode(model.generate(given)[0], skip_special_tokens=True).strip()
    assert said == "That agent is already logged on. Please enter your agent number followed by the pound key."
