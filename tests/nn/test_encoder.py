"""Encoder against transformers' own models: same tokens, pooled as the family wants, parts that learn and parts that stay."""

import pytest
import torch
import transformers
from torch import nn

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.errors import Mistake
from omnitune.nn.blocks import find_blocks
from omnitune.nn.encoder import Encoder
from omnitune.tuning.freeze import Freeze
from omnitune.tuning.full import Full
from omnitune.tuning.probe import Probe

NAMES = list(checkpoints.ALL)
POOLS = {"gpt2": "last", "llama": "last", "qwen3": "last", "vit": "first", "dinov2": "first", "clip": "first"}
TOWERS = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel", "t5": "T5EncoderModel"}


def backbone(name: str) -> Pretrained:
    return Pretrained(str(checkpoints.ALL[name]()))


def reference(name: str) -> nn.Module:
    model = getattr(transformers, TOWERS.get(name, "AutoModel")).from_pretrained(checkpoints.ALL[name]()).eval()
    return model.get_encoder() if name in ("bart", "whisper", "t5") else model


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_tokens_are_those_of_transformers(name: str) -> None:
    encoder, model, inputs = backbone(name).encoder(), reference(name), checkpoints.inputs(name)
    tokens, wanted = encoder(**inputs), model(**inputs)
    hidden = wanted.last_hidden_state
    if name in ("clip", "convnext"):
        torch.testing.assert_close(tokens.pooled(), wanted.pooler_output)
    elif hidden.ndim == 4:
        torch.testing.assert_close(tokens.pooled(), hidden.mean((2, 3)))
    else:
        real = tokens.mask_BL[..., None]
        torch.testing.assert_close(tokens.x_BLD * real, hidden * real)
    assert tokens.x_BLD.shape[-1] == encoder.width
    assert encoder.pool == tokens.pool == POOLS.get(name, "mean")


@pytest.mark.parametrize("name", checkpoints.TEXT)
@torch.no_grad()
def test_padding_does_not_move_a_row(name: str) -> None:
    encoder, inputs = backbone(name).encoder(), checkpoints.inputs(name)
    together = encoder(**inputs).pooled()
    for i, length in enumerate(inputs["attention_mask"].sum(1)):
        alone = encoder(**{key: value[i : i + 1, :length] for key, value in inputs.items()}).pooled()
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", checkpoints.TEXT)
def test_a_row_without_tokens_is_zero_and_harms_no_gradient(name: str) -> None:
    encoder, inputs = backbone(name).encoder(), checkpoints.inputs(name)
    inputs["attention_mask"][1] = 0
    pooled = encoder(**inputs).pooled()
    pooled.square().sum().backward()
    assert pooled[1].eq(0).all() and pooled.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_stem_blocks_and_tail_run_in_that_order(name: str) -> None:
    """A change in a part moves the tokens after it and none before."""
    encoder, inputs = backbone(name).encoder(), checkpoints.inputs(name)
    seen: list[torch.Tensor] = []
    for block in encoder.blocks:
        block.register_forward_pre_hook(lambda _, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True)
    with torch.no_grad():
        encoder(**inputs)
        before = [tokens.clone() for tokens in seen]
        for parameter, weight in list(encoder.named_parameters()):
            depth, old = encoder.depth(parameter), weight.clone()
            seen.clear()
            weight.add_(torch.randn_like(weight))
            encoder(**inputs)
            weight.copy_(old)
            moved = [not torch.equal(a, b) for a, b in zip(before, seen, strict=True)]
            between = 0 < depth <= len(before) and not parameter.startswith(f"model.{encoder.names[depth - 1]}.")
            assert not any(moved[: depth - between]), parameter
    assert len(encoder.blocks) == len(before) >= 3


def test_depth_counts_from_stem_to_tail() -> None:
    encoder = backbone("vit").encoder()
    assert encoder.depth("model.embeddings.cls_token") == 0
    assert encoder.depth("model.layers.0.mlp.fc1.weight") == 1
    assert encoder.depth("model.layers.2.mlp.fc1.weight") == 3
    assert encoder.depth("model.layernorm.weight") == 4
    assert backbone("bart").encoder().depth("model.layernorm_embedding.weight") == 0


def test_blocks_are_the_longest_list_of_one_class() -> None:
    model = nn.Module()
    model.mixed = nn.ModuleList([nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1), nn.ReLU()])
    model.short = nn.ModuleList([nn.Linear(1, 1)])
    model.long = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    names, blocks = find_blocks(model)
    assert names == ["long.0", "long.1"] and blocks == list(model.long)


def test_blocks_of_stages_are_one_list() -> None:
    encoder = backbone("convnext").encoder()
    assert encoder.names == [f"encoder.stages.{stage}.layers.{i}" for stage, blocks in enumerate([1, 2, 1]) for i in range(blocks)]
    depths = {name.removeprefix("model.encoder.stages."): encoder.depth(name) for name, _ in encoder.named_parameters() if ".stages." in name}
    assert depths["0.layers.0.dwconv.weight"] == 1 and depths["1.downsampling_layer.1.weight"] == 2
    assert depths["1.layers.1.dwconv.weight"] == 3 and depths["2.downsampling_layer.1.weight"] == depths["2.layers.0.dwconv.weight"] == 4
    Freeze(1).apply(encoder)
    learning = [name for name, p in encoder.named_parameters() if p.requires_grad]
    assert learning and all(".stages.2." in name or "layernorm" in name for name in learning)


class Whole(nn.Module):
    """A model without a list of blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.config = transformers.PretrainedConfig(hidden_size=4)
        self.layer = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))


def test_without_blocks_all_is_stem() -> None:
    encoder = Encoder(Whole(), "mean")
    assert encoder.blocks == [] and {encoder.depth(name) for name, _ in encoder.named_parameters()} == {0}
    Full().apply(encoder)
    assert encoder.train().model.layer[1].training
    with pytest.raises(Mistake, match="0"):
        Freeze(1).apply(encoder)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parts_are_deterministic_in_training(name: str) -> None:
    encoder, inputs = backbone(name).encoder(), checkpoints.inputs(name)
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    Freeze(1).apply(encoder)
    seen: list[torch.Tensor] = []
    encoder.blocks[-1].register_forward_pre_hook(lambda _, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True)
    for mode in (True, True, False):
        encoder.train(mode)(**inputs)
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])
    encoder.train()
    assert encoder.blocks[-1].training and not any(block.training for block in encoder.blocks[:-1])
    Probe().apply(encoder)
    assert not any(module.training for module in encoder.train().model.modules())


def test_dropout_acts_where_a_part_learns() -> None:
    encoder, inputs = backbone("bert").encoder(), checkpoints.inputs("bert")
    Full().apply(encoder)
    encoder.train()
    assert not torch.equal(encoder(**inputs).x_BLD, encoder(**inputs).x_BLD)
    encoder.eval()
    assert torch.equal(encoder(**inputs).x_BLD, encoder(**inputs).x_BLD)


@pytest.mark.parametrize("name", ["efficientnet", "resnet"])
def test_batch_norm_keeps_the_statistics_of_the_checkpoint(name: str) -> None:
    encoder = backbone(name).encoder()
    Full().apply(encoder)
    before = {key: value.clone() for key, value in encoder.named_buffers()}
    encoder.train()(**checkpoints.inputs(name))
    assert before and all(torch.equal(value, before[key]) for key, value in encoder.named_buffers())


@pytest.mark.parametrize("name", NAMES)
def test_saved_weights_come_back_and_transformers_reads_them(name: str, tmp_path) -> None:
    encoder = backbone(name).encoder()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(0.1)
    encoder.save(tmp_path, weights=True)
    again = backbone(name).skeleton()
    again.load(tmp_path)
    assert again.state_dict().keys() == encoder.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in encoder.state_dict().items())
    opened = Pretrained(str(tmp_path)).encoder()
    assert all(torch.equal(value, opened.state_dict()[key]) for key, value in encoder.state_dict().items())
    with torch.no_grad():
        assert torch.equal(opened(**checkpoints.inputs(name)).x_BLD, encoder(**checkpoints.inputs(name)).x_BLD)
    if name not in ("bart", "whisper", "t5"):
        _, found = transformers.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
        assert not [key for key in found["missing_keys"] if "pooler" not in key and "head." not in key]


def test_saving_over_the_folder_it_came_from(tmp_path) -> None:
    backbone("bert").encoder().save(tmp_path, weights=True)
    encoder = Pretrained(str(tmp_path)).encoder()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.mul_(2)
    encoder.save(tmp_path, weights=True)
    again = Pretrained(str(tmp_path)).encoder()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in encoder.state_dict().items())


def test_a_skeleton_does_not_pass_for_a_model(tmp_path) -> None:
    skeleton = backbone("bert").skeleton()
    skeleton.save(tmp_path, weights=False)
    with pytest.raises(Mistake, match="no weights"):
        skeleton.load(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path) -> None:
    backbone("distilbert").encoder().save(tmp_path, weights=True)
    with pytest.raises(Mistake, match="another model"):
        backbone("bert").skeleton().load(tmp_path)


@pytest.mark.parametrize("name", ["efficientnet", "resnet", "convnext"])
def test_channels_side_by_side_give_the_same_tokens_and_gradients(name: str) -> None:
    found = []
    for on in (True, False):
        made = backbone(name).encoder()
        assert made.channels_last
        made.channels_last = on
        orders: list[bool] = []
        first = next(module for module in made.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_hook(lambda m, given, out, orders=orders: orders.append(out.is_contiguous(memory_format=torch.channels_last)))
        made(**checkpoints.inputs(name)).pooled().square().sum().backward()
        assert orders == [on]
        found.append({name: p.grad for name, p in made.named_parameters() if p.grad is not None})
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-4 * float(1 + gradient.abs().max()))


def test_transformers_are_left_as_they_are() -> None:
    assert not backbone("vit").encoder().channels_last


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit", "clip", "siglip", "dinov2"])
def test_pictures_of_another_size_are_read_at_positions_between(name: str) -> None:
    made, model = backbone(name).encoder(), reference(name)
    larger = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    asked = {} if name == "dinov2" else {"interpolate_pos_encoding": True}
    wanted = model(larger, **asked)
    pooled = wanted.pooler_output if name == "clip" else wanted[0].mean(1) if name == "siglip" else wanted[0][:, 0]
    torch.testing.assert_close(made(pixel_values=larger).pooled(), pooled)
