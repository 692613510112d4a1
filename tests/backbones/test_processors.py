"""Tokenizers and picture settings of checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil

import checkpoints
from omnitune.backbones._picture import FILE
from omnitune.backbones.pretrained import Pretrained
from omnitune.errors import Mistake


@pytest.mark.parametrize("name", checkpoints.TEXT)
def test_tokenizers_pad_on_the_right_and_know_the_longest_text(name: str) -> None:
    tokenizer = Pretrained(str(checkpoints.TEXT[name]())).tokenizer()
    made = tokenizer(["a", "a soft jumper for cold evenings"], padding=True, return_tensors="np")
    assert made["attention_mask"][0, 0] == 1 and made["attention_mask"][0, -1] == 0
    assert tokenizer.pad_token is not None
    assert tokenizer.model_max_length <= 96
    assert tokenizer is Pretrained(str(checkpoints.TEXT[name]())).tokenizer()


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "bart"])
def test_the_longest_text_fits_the_model(name: str) -> None:
    backbone = Pretrained(str(checkpoints.TEXT[name]()))
    made = backbone.tokenizer()(["size " * 500], truncation=True, return_tensors="pt")
    assert backbone.encoder()(input_ids=made["input_ids"], attention_mask=made["attention_mask"]).x_BLD.isfinite().all()


def test_a_picture_model_has_no_tokenizer() -> None:
    with pytest.raises(Mistake, match="no tokenizer"):
        Pretrained(str(checkpoints.tiny_vit())).tokenizer()


def picture(tmp_path: Path, values: dict | None, config: dict | None = None) -> dict:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"} | (config or {})))
    if values is not None:
        (tmp_path / FILE).write_text(json.dumps(values))
    return Pretrained(str(tmp_path)).picture()


@pytest.mark.parametrize(
    ("values", "size", "share"),
    [
        ({"size": 224}, (224, 224), 1.0),
        ({"size": {"height": 100, "width": 200}}, (100, 200), 1.0),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, (224, 224), 0.875),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}}, (224, 224), 0.875),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 224), 0.875),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384), 1.0),
        ({"size": [96, 96]}, (96, 96), 1.0),
        ({}, (64, 64), 1.0),
        (None, (64, 64), 1.0),
    ],
)
def test_sizes(tmp_path: Path, values: dict | None, size: tuple[int, int], share: float) -> None:
    made = picture(tmp_path, values, {"image_size": 64})
    assert (made["size"], made["crop_pct"]) == (size, share)


def test_sizes_of_towers_and_defaults(tmp_path: Path) -> None:
    assert picture(tmp_path, None, {"vision_config": {"image_size": 48}})["size"] == (48, 48)
    assert picture(tmp_path, None)["size"] == (224, 224)
    assert picture(tmp_path, None)["mean"] == [0.5, 0.5, 0.5]
    (tmp_path / FILE).write_text("{")
    with pytest.raises(Mistake, match="cannot be read"):
        Pretrained(str(tmp_path)).picture()


SETTINGS = {"do_resize": False, "do_center_crop": False, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}


@pytest.mark.parametrize(
    ("processor", "more"),
    [
        (CLIPImageProcessorPil, {}),
        (CLIPImageProcessorPil, {"do_rescale": False}),
        (CLIPImageProcessorPil, {"do_normalize": False}),
        (CLIPImageProcessorPil, {"rescale_factor": 1 / 127.5}),
        (EfficientNetImageProcessorPil, {"include_top": True}),
        (EfficientNetImageProcessorPil, {"include_top": False, "rescale_factor": 1 / 127.5, "rescale_offset": True}),
    ],
)
def test_statistics_are_those_of_the_processor(tmp_path: Path, processor, more: dict) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    made = picture(tmp_path, SETTINGS | {"size": 8} | more)
    wanted = processor(**SETTINGS, **more)(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
    got = (pixels.transpose(2, 0, 1) / 255 - np.reshape(made["mean"], (3, 1, 1))) / np.reshape(made["std"], (3, 1, 1))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["bert", "gpt2", "vit", "clip"])
def test_a_saved_processor_is_the_same(name: str, tmp_path: Path) -> None:
    before = Pretrained(str(checkpoints.ALL[name]()))
    before.save_processor(tmp_path)
    before.encoder().save(tmp_path, weights=True)
    after = Pretrained(str(tmp_path))
    if name in checkpoints.TEXT:
        assert after.tokenizer()(checkpoints.SENTENCES)["input_ids"] == before.tokenizer()(checkpoints.SENTENCES)["input_ids"]
    else:
        assert after.picture() == before.picture()
    assert after.encoder().pool == before.encoder().pool
    assert str(checkpoints.ALL[name]()) not in "".join(file.read_text() for file in tmp_path.glob("*.json"))


def test_settings_are_written_where_there_were_none(tmp_path: Path) -> None:
    before = picture(tmp_path, None, {"image_size": 64})
    Pretrained(str(tmp_path)).save_processor(tmp_path / "saved")
    after = Pretrained(str(tmp_path / "saved")).picture()
    assert after.pop("size") == before.pop("size")
    assert after == {key: pytest.approx(value) for key, value in before.items()}
