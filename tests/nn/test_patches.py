import pytest
import torch

import checkpoints
import vits
from omnitune.backbones.pretrained import Pretrained
from omnitune.errors import Mistake
from omnitune.nn import patches
from omnitune.nn.encoder import Encoder

SIDE = checkpoints.SIDE
PATCHED = {"vit": 1, "dinov2": 1, "clip": 1, "siglip": 0}
"""Tokens before the patches."""


def test_patches_are_cut_in_reading_order_and_joined_again() -> None:
    x = torch.arange(2 * 3 * 8 * 12).view(2, 3, 8, 12).float()
    cut = patches.cut(x, 4)
    assert cut.shape == (2, 6, 48)
    for place in range(6):
        row, column = divmod(place, 3)
        square = x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert torch.equal(cut[:, place], square.permute(0, 2, 3, 1).flatten(1))
    assert torch.equal(patches.join(cut, 4, columns=3), x)
    assert torch.equal(patches.cut(torch.nn.functional.pad(x, (0, 3, 0, 2)), 4), cut), "what is left of a side is not read"


def test_positions_on_a_grid_differ_and_tell_near_from_far() -> None:
    table = patches.sincos(6, 5, 32)
    assert table.shape == (30, 32) and table.dtype == torch.float32
    near = table @ table.T
    assert torch.equal(near.argmax(1), torch.arange(30))
    assert near[0, 1] > near[0, 2] > near[0, 4] and near[0, 5] > near[0, 10] > near[0, 25]


@torch.no_grad()
@pytest.mark.parametrize("name", PATCHED)
def test_blocks_compute_the_visible_patches_alone(name: str) -> None:
    encoder, pixels = Pretrained(str(checkpoints.PICTURE[name]())).encoder(), checkpoints.inputs(name)["pixel_values"]
    before, seen = PATCHED[name], []
    encoder.show(8, (SIDE, SIDE))
    for block in encoder.blocks:
        block.register_forward_hook(lambda module, given, output: seen.append((output[0] if isinstance(output, tuple) else output).shape[1]))
    visible = torch.tensor([[3, 1, 15, 8], [0, 2, 4, 5]])
    tokens = encoder(pixel_values=pixels, visible=visible)
    assert tokens.x_BLD.shape[1] == before + 4 and seen == [before + 4] * len(encoder.blocks)
    whole = encoder(pixel_values=pixels)
    assert whole.x_BLD.shape[1] == before + 16 and not torch.allclose(tokens.x_BLD[:, before:], patches.at(whole.x_BLD[:, before:], visible))
    every = torch.arange(16).expand(2, -1)
    torch.testing.assert_close(encoder(pixel_values=pixels, visible=every).x_BLD, whole.x_BLD)


@torch.no_grad()
def test_the_stem_is_told_what_the_model_is_told() -> None:
    model, pixels, visible = vits.base(), vits.pictures(), torch.tensor([[5, 2], [0, 15]])
    encoder = Encoder(model, "first")
    encoder.show(vits.PATCH, (vits.SIDE, vits.SIDE))
    assert torch.equal(encoder(pixel_values=pixels, visible=visible).x_BLD, model(pixels, visible).last_hidden_state)


@pytest.mark.parametrize("name", ["efficientnet", "resnet", "convnext"])
def test_models_that_need_the_whole_picture_are_refused(name: str) -> None:
    encoder = Pretrained(str(checkpoints.PICTURE[name]())).encoder()
    with pytest.raises(Mistake, match="cannot read a picture of which patches are left out"):
        encoder.show(8, (SIDE, SIDE))


def test_a_model_that_adds_places_in_its_blocks_is_found_out() -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.BeitConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=SIDE, patch_size=8,
        use_relative_position_bias=True, out_indices=[1, 2],
    )  # fmt: skip
    model = transformers.BeitModel(config, add_pooling_layer=False)
    for name, weight in model.named_parameters():
        if "relative" in name:
            torch.nn.init.normal_(weight)  # they start at nothing, which is no place
    with pytest.raises(Mistake, match="BeitModel"):
        Encoder(model, "mean").show(8, (SIDE, SIDE))


def test_the_proof_draws_no_random_number_of_the_run() -> None:
    encoder, state = Encoder(vits.base(), "first"), torch.get_rng_state()
    encoder.show(vits.PATCH, (vits.SIDE, vits.SIDE))
    assert torch.equal(torch.get_rng_state(), state)
