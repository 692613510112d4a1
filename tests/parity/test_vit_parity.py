"""ViT and MAE against transformers' ViT and ViTMAE with the same weights, in both directions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    BertConfig,
    BertModel,
    ViTConfig,
    ViTForImageClassification,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
    ViTModel,
)
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

import vits
from gpts import randomised
from omnitune.errors import Mistake
from omnitune.nn import mae_files, patches, vit, vit_files
from omnitune.nn.encoder import Encoder
from omnitune.nn.mae import MAE, MAEOutput
from omnitune.nn.vit_config import VisionTransformerConfig

SIZES = [(16, 16), (24, 24), (12, 20), (30, 17)]
SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "image_size": 16, "patch_size": 4}


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def read(model: Any, pixels: torch.Tensor, **more: Any) -> Any:
    """What a model of transformers makes of pictures of any size."""
    return model(pixels, interpolate_pos_encoding=pixels.shape[2:] != (16, 16), **more)


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {"loss": loss.detach()} | {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def swapped(model: Any, found: dict[str, torch.Tensor]) -> Any:
    """`model` with gradients in the place of its weights, so that they can be given other names."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(found.get(name, weight))
    return model


@pytest.mark.parametrize("size", SIZES)
def test_hidden_states_of_every_layer(size: tuple[int, int]) -> None:
    ours, pixels = vits.base(), vits.pictures(2, *size)
    theirs = vit_files.to_transformers(ours)
    assert type(theirs) is ViTModel and theirs.pooler is None
    found, wanted = ours(pixels, output_hidden_states=True), read(theirs, pixels, output_hidden_states=True)
    assert len(found.hidden_states) == len(wanted.hidden_states) == 4
    for x, y in zip([*found.hidden_states, found.last_hidden_state], [*wanted.hidden_states, wanted.last_hidden_state], strict=True):
        close(x, y)


@pytest.mark.parametrize("size", SIZES)
def test_logits_and_gradients_both_ways(size: tuple[int, int]) -> None:
    ours, pixels, labels = vits.classifier(), vits.pictures(3, *size), torch.tensor([0, 4, 2])
    theirs = vit_files.to_transformers(ours)
    assert type(theirs) is ViTForImageClassification and theirs.config.num_labels == vits.LABELS
    back = vit_files.from_transformers(theirs)
    close(ours(pixels).logits, read(theirs, pixels).logits)
    assert torch.equal(ours(pixels).logits, back(pixels).logits)
    found, again = (gradients(model, model(pixels, labels).loss) for model in (ours, back))
    wanted = gradients(theirs, read(theirs, pixels, labels=labels).loss)
    turned = dict(vit_files.from_transformers(swapped(theirs, wanted)).named_parameters())
    assert found.keys() == again.keys() == turned.keys() | {"loss"}
    close(found["loss"], wanted["loss"])
    for name, weight in turned.items():
        close(found[name], weight)
        close(again[name], weight)


@pytest.mark.parametrize("made", [ViTModel, ViTForImageClassification])
def test_a_model_of_transformers_and_back(made: Any) -> None:
    theirs = randomised(made(ViTConfig(**SHAPE, num_labels=7, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2, layer_norm_eps=1e-3)))
    ours, pixels = vit_files.from_transformers(theirs), vits.pictures()
    assert torch.equal(ours(pixels)[0], ours(pixels)[0]) and ours.config.dropout == 0.3 and ours.config.attention_dropout == 0.2
    close(ours(pixels)[0], theirs(pixels)[0])
    back = vit_files.to_transformers(ours)
    lost = {name for name in theirs.state_dict() if name.startswith("pooler.")}
    assert back.state_dict().keys() == theirs.state_dict().keys() - lost
    for name, weight in back.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], weight), name
    changed = {name: value for name, value in back.config.to_diff_dict().items() if theirs.config.to_diff_dict().get(name) != value}
    assert not changed.keys() - {"architectures", "dtype", "encoder_stride"}


def test_the_folder_is_that_of_transformers(tmp_path: Path) -> None:
    ours, pixels = vits.classifier(dropout=0.1), vits.pictures()
    state = torch.get_rng_state()
    ours.save_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state), "saving draws no random number"
    theirs = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert type(theirs) is ViTForImageClassification and theirs.config.architectures == ["ViTForImageClassification"]
    close(theirs(pixels).logits, ours(pixels).logits)
    again = vit.ViTForImageClassification.from_pretrained(tmp_path).eval()
    assert isinstance(again, vit.ViTForImageClassification) and torch.equal(again(pixels).logits, ours(pixels).logits)
    ours.model.save_pretrained(tmp_path / "base")
    base = AutoModel.from_pretrained(tmp_path / "base").eval()
    assert type(base) is ViTModel
    close(base(pixels).last_hidden_state, ours.model(pixels).last_hidden_state)
    assert torch.equal(vit.ViT.from_pretrained(tmp_path / "base").eval()(pixels).last_hidden_state, ours.model(pixels).last_hidden_state)
    ours.config.save_pretrained(tmp_path / "config")
    assert type(AutoConfig.from_pretrained(tmp_path / "config")) is ViTConfig


def test_without_class_token_it_is_read_again_by_transformers(tmp_path: Path) -> None:
    ours, pixels = vits.classifier(class_token=False), vits.pictures(2, 24, 20)
    ours.save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert type(again) is vit.ViTForImageClassification and again.config.model_type == "vit_pooled" and not again.config.class_token
    assert torch.equal(again(pixels).logits, ours(pixels).logits)
    base = AutoModel.from_pretrained(tmp_path).eval()
    assert type(base) is vit.ViT and torch.equal(base(pixels).last_hidden_state, ours.model(pixels).last_hidden_state)
    with pytest.raises(Mistake, match="a ViT of transformers always has one"):
        vit_files.to_transformers(ours)


@torch.no_grad()
def test_without_class_token_it_is_a_vit_of_transformers_whose_class_token_nobody_sees() -> None:
    ours, pixels = vits.base(class_token=False), vits.pictures()
    with_one = vits.base()
    state = {name: weight for name, weight in ours.state_dict().items() if name != "embeddings.positions"}
    with_one.load_state_dict(state, strict=False)
    with_one.embeddings.positions[1:] = ours.embeddings.positions
    theirs = vit_files.to_transformers(with_one)
    x = theirs.embeddings(pixels)
    seen = torch.ones(1, 1, 17, 17, dtype=torch.bool)
    seen[..., 1:, 0] = False
    for layer in theirs.layers:
        x = layer(x, torch.zeros(seen.shape).masked_fill(~seen, -torch.inf))
    close(ours(pixels).last_hidden_state, theirs.layernorm(x)[:, 1:])


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (ViTConfig(**SHAPE, hidden_act="relu"), "hidden_act is 'relu', and ViT knows gelu alone"),
        (ViTConfig(**SHAPE, qkv_bias=False), "qkv_bias is False"),
        (ViTConfig(**SHAPE | {"image_size": (16, 8)}), r"image_size is .16, 8., and ViT knows squares alone"),
    ],
)
def test_what_vit_lacks_is_refused(theirs: Any, words: str) -> None:
    with torch.device("meta"):
        twin = ViTModel(theirs)
    with pytest.raises(Mistake, match=words):
        vit_files.from_transformers(twin)


def test_other_models_are_refused() -> None:
    with torch.device("meta"):
        bert = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
    with pytest.raises(Mistake, match="BertModel is no ViT of this library"):
        vit_files.from_transformers(bert)


# the masked autoencoder


def drawn(theirs: Any, found: MAEOutput, pixels: torch.Tensor, noise: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """What transformers gives, and of that the patches that are hidden."""
    wanted = theirs(pixels, noise=noise)
    assert found.hidden is not None
    return wanted, patches.at(wanted.logits, found.hidden)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("share", [0.75, 0.5, 0.9])
def test_a_masked_autoencoder_both_ways(normalise: bool, share: float) -> None:
    ours, pixels, noise = vits.mae(share=share, normalise=normalise), vits.pictures(3), vits.noise(3)
    theirs = mae_files.to_transformers(ours)
    assert type(theirs) is ViTMAEForPreTraining
    back = mae_files.from_transformers(theirs)
    found, again = ours(pixels, noise), back(pixels, noise)
    wanted, pictured = drawn(theirs, found, pixels, noise)
    assert torch.equal(torch.zeros_like(wanted.mask).scatter(1, found.hidden, 1.0), wanted.mask)
    close(found.drawn, pictured)
    assert torch.equal(found.drawn, again.drawn)
    mine, other, twin = gradients(ours, found.loss), gradients(back, again.loss), gradients(theirs, wanted.loss)
    turned = {name: p for name, p in mae_files.from_transformers(swapped(theirs, twin)).named_parameters() if p.requires_grad}
    assert mine.keys() == other.keys() == turned.keys() | {"loss"}
    close(mine["loss"], twin["loss"])
    for name, weight in turned.items():
        close(mine[name], weight)
        close(other[name], weight)


def test_a_masked_autoencoder_that_transformers_made(tmp_path: Path) -> None:
    shape = {"decoder_hidden_size": 20, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 30}
    theirs = vits.learning_randomised(ViTMAEForPreTraining(ViTMAEConfig(**SHAPE, **shape, mask_ratio=0.6, norm_pix_loss=True)))
    ours, pixels, noise = mae_files.from_transformers(theirs), vits.pictures(), vits.noise()
    fresh = MAE(ours.config)  # sines and cosines are theirs
    for table, width in ((fresh.model.embeddings.positions[1:], 24), (fresh.decoder.positions, 20)):
        rows, columns = build_2d_sinusoidal_position_embedding(4, 4, width).chunk(2, 1)
        torch.testing.assert_close(table, torch.cat([columns, rows], 1), rtol=0, atol=1e-6)  # in this order in all that was published
    found = ours(pixels, noise)
    wanted, pictured = drawn(theirs, found, pixels, noise)
    close(found.loss, wanted.loss)
    close(found.drawn, pictured)
    ours.save_pretrained(tmp_path)
    again = ViTMAEForPreTraining.from_pretrained(tmp_path).eval()
    for name, weight in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    assert again.config.mask_ratio == 0.6 and again.config.norm_pix_loss
    assert torch.equal(MAE.from_pretrained(tmp_path).eval()(pixels, noise).drawn, found.drawn)
    with pytest.raises(Mistake, match="a ViTMAE of transformers always has one"):
        mae_files.to_transformers(vits.mae(class_token=False))


def test_the_encoder_reads_visible_patches_as_transformers_does() -> None:
    theirs = vits.learning_randomised(ViTMAEModel(ViTMAEConfig(**SHAPE)))
    ours, pixels, noise = mae_files.encoder(theirs), vits.pictures(3), vits.noise(3)
    visible = noise.argsort(1)[:, :4]
    found, wanted = ours(pixels, visible).last_hidden_state, theirs(pixels, noise=noise).last_hidden_state
    assert found.shape == (3, 5, 24)
    close(found, wanted)
    assert not ours.embeddings.positions.requires_grad
    mine, twin = (gradients(model, x.square().sum()) for model, x in ((ours, found), (theirs, wanted)))
    turned = dict(mae_files.encoder(swapped(theirs, twin)).named_parameters())
    for name, gradient in mine.items():
        if name != "loss":
            torch.testing.assert_close(gradient, turned[name].detach(), rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_a_checkpoint_of_transformers_mae_is_read_as_the_vit_it_trained(tmp_path: Path) -> None:
    from omnitune.backbones.pretrained import Pretrained

    theirs = vits.learning_randomised(ViTMAEForPreTraining(ViTMAEConfig(**SHAPE)))
    theirs.save_pretrained(tmp_path)
    made, pixels = Pretrained(str(tmp_path)).encoder(), vits.pictures()
    assert isinstance(made, Encoder) and type(made.model) is ViTModel and made.pool == "first"
    close(made(pixel_values=pixels).x_BLD, mae_files.encoder(theirs.vit)(pixels).last_hidden_state)
    made.save(tmp_path / "saved", weights=True)
    close(AutoModel.from_pretrained(tmp_path / "saved").eval()(pixels).last_hidden_state, made(pixel_values=pixels).x_BLD)


def test_configurations_are_ours() -> None:
    assert isinstance(mae_files.from_config(ViTMAEConfig(**SHAPE)), VisionTransformerConfig)
