"""The last block for one token a row: the same vector and gradients, less work, and never where it is not exact."""

import pytest
import torch

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.nn.encoder import Encoder
from omnitune.tuning.full import Full

NARROW = ["bert", "distilbert", "roberta", "modernbert", "llama", "qwen3", "bart", "vit", "dinov2", "clip", "siglip", "whisper"]
WHOLE = ["gpt2", "t5", "efficientnet", "resnet", "convnext"]


def encoder(name: str, pool: str = "first", narrow: bool = True, flat: bool = True) -> Encoder:
    made = Pretrained(str(checkpoints.ALL[name]()), pool=pool).encoder()
    made.set_dropout(0.0, 0.0)
    made.narrow, made.padding.flat = narrow, flat
    return made


def gradients(made: Encoder, name: str) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    Full().apply(made)
    vectors = made.train()(**checkpoints.inputs(name)).pooled()
    (vectors * torch.arange(1, 1 + len(vectors))[:, None]).square().mean().backward()
    return vectors.detach(), {name: p.grad for name, p in made.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("pool", ["first", "last"])
@pytest.mark.parametrize("flat", [True, False])
def test_same_vectors_and_gradients(name: str, pool: str, flat: bool) -> None:
    if name not in checkpoints.TEXT and (pool == "last" or not flat):
        pytest.skip("pictures and sound pool at their class token, and have no padding")
    vectors, found = gradients(encoder(name, pool, flat=flat), name)
    wanted_vectors, wanted = gradients(encoder(name, pool, narrow=False, flat=flat), name)
    torch.testing.assert_close(vectors, wanted_vectors, rtol=1e-5, atol=1e-5)
    assert found.keys() == wanted.keys()
    for weight, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[weight], rtol=1e-4, atol=1e-5 * float(1 + wanted[weight].abs().max()))


@pytest.mark.parametrize("name", NARROW)
@torch.no_grad()
def test_the_rest_of_the_last_block_sees_one_token_a_row(name: str) -> None:
    made, seen = encoder(name), []
    made(**checkpoints.inputs(name))
    last = [module for module in made.blocks[-1].modules() if isinstance(module, torch.nn.Linear)][-1]
    last.register_forward_hook(lambda module, given, output: seen.append(output.shape[:-1].numel()))
    tokens = made(**checkpoints.inputs(name))
    assert seen == [len(tokens.x_BLD)] and tokens.x_BLD.shape[1] == 1


@pytest.mark.parametrize("name", WHOLE)
@torch.no_grad()
def test_models_of_another_build_stay_whole(name: str) -> None:
    made, whole = encoder(name), encoder(name, narrow=False)
    assert torch.equal(made(**checkpoints.inputs(name)).x_BLD, whole(**checkpoints.inputs(name)).x_BLD)


@torch.no_grad()
def test_a_mean_reads_every_token() -> None:
    assert encoder("bert", "mean")(**checkpoints.inputs("bert")).x_BLD.shape[1] > 1


@torch.no_grad()
def test_a_cut_after_the_last_block_keeps_every_token() -> None:
    made = encoder("vit")
    made.cut_after(len(made.blocks))
    tokens = made(**checkpoints.inputs("vit"))
    assert made.cut is not None and made.cut.seen.shape[1] == tokens.x_BLD.shape[1] > 1


@pytest.mark.parametrize("name", ["bert", "vit"])
@torch.no_grad()
def test_a_replay_is_narrow_too(name: str) -> None:
    made, inputs = encoder(name), checkpoints.inputs(name)
    made.cut_after(1)
    wanted = made(**inputs)
    assert made.cut is not None
    mask = inputs["attention_mask"].bool() if "attention_mask" in inputs else None
    found = made.replay(made.cut.seen, mask)
    assert found.x_BLD.shape == wanted.x_BLD.shape
    torch.testing.assert_close(found.pooled(), wanted.pooled())


@torch.no_grad()
def test_a_row_without_a_token_stays_missing() -> None:
    inputs = checkpoints.inputs("bert")
    inputs["attention_mask"][1] = 0
    tokens = encoder("bert")(**inputs)
    assert not tokens.present[1] and tokens.present[0] and not tokens.pooled()[1].any()
