import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import nn

import vits
from omnitune.errors import Mistake
from omnitune.nn import checkpoints
from omnitune.nn.encoder import Encoder
from omnitune.nn.vit import ViT, ViTForImageClassification
from omnitune.nn.vit_config import PRESETS, VisionTransformerConfig
from omnitune.tuning.full import Full

tokens = pytest.mark.parametrize("class_token", [True, False])


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


# sizes


def test_the_dial() -> None:
    config = VisionTransformerConfig.of(4, size=32, patch=4)
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size, config.grid) == (256, 4, 1024, 8)
    assert (config.class_token, config.positions, config.norm_eps) == (True, "learned", 1e-6)


@pytest.mark.parametrize(
    ("name", "millions"),  # with a head of 1,000 classes, as papers count
    [("ti/16", 5.7), ("s/16", 22.05), ("b/16", 86.57), ("b/32", 88.22), ("l/16", 304.33), ("h/14", 632.05)],
)
def test_published_sizes(name: str, millions: float) -> None:
    config = VisionTransformerConfig.preset(name)
    config.num_labels = 1000
    with torch.device("meta"):
        model = ViTForImageClassification(config)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.03)


def test_every_published_size_is_tested() -> None:
    (mark,) = (mark for mark in test_published_sizes.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert [name for name, _ in mark.args[1]] == list(PRESETS)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VisionTransformerConfig.of(2, heads=3), "3 heads do not divide width 128"),
        (lambda: VisionTransformerConfig.of(0), "are no model"),
        (lambda: VisionTransformerConfig.of(2, size=30, patch=4), "patches of 4 do not divide pictures of 30"),
        (lambda: VisionTransformerConfig.of(2, size=8, patch=16), "patches of 16 do not divide pictures of 8"),
        (lambda: VisionTransformerConfig.of(2, positions="rotary"), "no positions called 'rotary'"),  # type: ignore[arg-type]
        (lambda: VisionTransformerConfig.of(2, width=6, heads=1, positions="sincos"), "do not fit into width 6"),
        (lambda: VisionTransformerConfig.preset("b/61"), "no published size called 'b/61'.*Did you mean 'b/16'"),
        (lambda: vits.mae_config(decoder_num_attention_heads=5), "5 heads do not divide width 24"),
    ],
)
def test_wrong_sizes_are_refused(make: Any, words: str) -> None:
    with pytest.raises(Mistake, match=words):
        make()


# the model


@tokens
def test_initialisation(class_token: bool) -> None:
    torch.manual_seed(0)
    model = ViT(vits.config(width=128, inner=512, class_token=class_token))
    for name, weight in model.named_parameters():
        if name.endswith("qkv.weight"):
            for part in weight.detach().chunk(3):
                assert float(part.abs().max()) <= math.sqrt(6 / 256) and float(part.std()) == pytest.approx(math.sqrt(2 / 256), rel=0.05)
        elif weight.ndim == 4:
            assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / (48 + 128)), rel=0.05)
        elif name in ("embeddings.positions", "embeddings.class_token"):
            assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.2)
        elif weight.ndim == 2:
            assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / sum(weight.shape)), rel=0.05), name
        else:
            assert torch.equal(weight, torch.full_like(weight, 0.0 if name.endswith("bias") else 1.0)), name


@tokens
@torch.no_grad()
def test_visible_patches_are_read_at_their_places(class_token: bool) -> None:
    model, pixels = vits.base(class_token=class_token), vits.pictures()
    first = int(class_token)
    order = torch.randperm(vits.PATCHES)[None].expand(2, -1)
    whole, turned = model(pixels).last_hidden_state, model(pixels, order).last_hidden_state
    close(turned[:, first:], whole[:, first:][:, order[0]])
    few = torch.tensor([[2, 9, 4], [11, 0, 1]])
    found = model(pixels, few).last_hidden_state
    assert found.shape == (2, 3 + first, 32)
    other = pixels.clone()
    hidden = torch.ones(2, vits.PATCHES).scatter(1, few, 0.0).view(2, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(model(other + 9 * hidden, few).last_hidden_state, found), "what is hidden does not show"


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(Mistake, match="1 channels of 16 x 16 pixels"):
        vits.base()(torch.zeros(2, 1, 16, 16))
    with pytest.raises(Mistake, match="3 channels of 3 x 16 pixels cannot be read"):
        vits.base()(torch.zeros(2, 3, 3, 16))


@tokens
def test_nothing_is_dropped_unless_asked_for(class_token: bool) -> None:
    pixels = vits.pictures()
    plain, dropping = vits.base(class_token=class_token).train(), vits.base(class_token=class_token, dropout=0.5).train()
    assert torch.equal(plain(pixels).last_hidden_state, plain(pixels).last_hidden_state)
    assert not torch.equal(dropping(pixels).last_hidden_state, dropping(pixels).last_hidden_state)
    dropping.eval()
    assert torch.equal(dropping(pixels).last_hidden_state, plain(pixels).last_hidden_state)


def test_blocks_computed_again_give_the_same_gradients() -> None:
    model, pixels, labels, runs = vits.classifier().train(), vits.pictures(), torch.tensor([0, 3]), []
    model.model.blocks[1].attention.register_forward_hook(lambda *_: runs.append(1))

    def gradients() -> list[Any]:
        model.zero_grad()
        model(pixels, labels).loss.backward()
        return [p.grad for p in model.parameters()]

    wanted = gradients()
    Encoder(model.model, "first").recompute()
    model.train()
    runs.clear()
    for found, want in zip(gradients(), wanted, strict=True):
        assert torch.equal(found, want)
    assert len(runs) == 2


# as a backbone


def encoder(class_token: bool, **more: Any) -> Encoder:
    return Encoder(vits.base(class_token=class_token, **more), "first" if class_token else "mean")


@tokens
@torch.no_grad()
def test_an_encoder_finds_the_blocks(class_token: bool) -> None:
    made, pixels = encoder(class_token), vits.pictures()
    assert made.names == [f"blocks.{i}" for i in range(3)] and made.width == 32
    assert made.depth("model.embeddings.positions") == made.depth("model.embeddings.project.weight") == 0
    assert made.depth("model.blocks.2.mlp.up.weight") == 3 and made.depth("model.norm.weight") == 4
    x_BLD = made.model(pixels).last_hidden_state
    close(made(pixel_values=pixels).pooled(), x_BLD[:, 0] if class_token else x_BLD.mean(1))


@tokens
@torch.no_grad()
def test_replay_from_every_cut(class_token: bool) -> None:
    pixels = vits.pictures()
    for k in range(1, 4):
        made = encoder(class_token)
        made.cut_after(k)
        wanted = made(pixel_values=pixels)
        assert made.cut is not None
        assert torch.equal(made.replay(made.cut.seen, None).x_BLD, wanted.x_BLD)


@torch.no_grad()
def test_the_last_block_makes_only_the_token_that_is_read() -> None:
    made, pixels, seen = encoder(True), vits.pictures(), []
    wanted = made(pixel_values=pixels).pooled()
    made.narrow = True
    made.blocks[-1].mlp.register_forward_hook(lambda block, args, output: seen.append(output.shape[1]))
    close(made(pixel_values=pixels).pooled(), wanted)
    assert seen[-1] == 1 and made.path()["last block"] == "the first token alone"


def test_fixed_positions_stay_and_learned_ones_learn() -> None:
    for positions, learns in (("sincos", False), ("learned", True)):
        made = encoder(True, positions=positions)
        Full().apply(made)
        assert made.model.embeddings.positions.requires_grad == learns
        assert all(p.requires_grad for name, p in made.named_parameters() if not name.endswith("positions"))


@tokens
def test_a_frozen_prefix_learns_nothing_and_drops_nothing(class_token: bool) -> None:
    made = encoder(class_token, dropout=0.5)
    Full().apply(made)
    for name, weight in made.named_parameters():
        weight.requires_grad_(made.depth(name) > 2)
    made.cut_after(2)
    made.train()
    kept = []
    for _ in range(2):
        out = made(pixel_values=vits.pictures())
        assert made.cut is not None
        kept.append((made.cut.seen, out.x_BLD))
    assert torch.equal(kept[0][0], kept[1][0]) and not torch.equal(kept[0][1], kept[1][1])


@tokens
def test_lora_goes_into_every_product_and_folds_back(class_token: bool, tmp_path: Path) -> None:
    made, pixels = encoder(class_token), vits.pictures()
    made.adapt(LoraConfig(r=2, target_modules=["qkv", "out", "up", "down"]))
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    assert sum("lora_A" in name for name, p in made.named_parameters() if p.requires_grad) == 12
    wanted = made(pixel_values=pixels).x_BLD
    made.save(tmp_path, weights=True)
    with torch.no_grad():
        made.merge()
    close(made(pixel_values=pixels).x_BLD, wanted)
    (tmp_path / "adapter_config.json").rename(tmp_path / "away")
    plain = Encoder(checkpoints.read(tmp_path, "run"), made.pool)
    close(plain(pixel_values=pixels).x_BLD, encoder(class_token)(pixel_values=pixels).x_BLD)


@tokens
@torch.no_grad()
def test_the_saved_backbone_is_read_again(class_token: bool, tmp_path: Path) -> None:
    from omnitune.backbones.pretrained import Pretrained

    made, pixels = encoder(class_token), vits.pictures()
    made.save(tmp_path, weights=True)
    again = Pretrained(str(tmp_path)).encoder()
    assert again.pool == made.pool and type(again.model).__name__ == ("ViTModel" if class_token else "ViT")
    close(again(pixel_values=pixels).x_BLD, made(pixel_values=pixels).x_BLD)
    assert Pretrained(str(tmp_path)).architecture().patch == vits.PATCH
