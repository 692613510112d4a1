"""Compiled blocks: the same loss and gradients as without, one compilation for all blocks and lengths, and none of it after training."""

import shutil

import pytest
import torch

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.nn.encoder import Encoder
from omnitune.tuning.freeze import Freeze
from omnitune.tuning.full import Full

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the compiler about itself
needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile wants a C++ compiler on a CPU")


def encoder() -> Encoder:
    made = Pretrained(str(checkpoints.tiny_bert()), pool="mean").encoder()
    made.set_dropout(0.0, 0.0)
    made.padding.flat = False
    Full().apply(made)
    return made


def learned(made: Encoder, lengths: list[int]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(10, 60, mask.shape, generator=torch.Generator().manual_seed(len(lengths))) * mask
    made.train().zero_grad()
    loss = made(input_ids=ids, attention_mask=mask.long()).pooled().square().mean()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}


@needs_compiler
def test_the_same_loss_and_gradients_from_one_compilation() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain, made = encoder(), encoder()
    made.compile_blocks()
    for lengths in ([5, 9, 3], [2, 20, 7, 7], [8, 7]):
        (loss, found), (wanted_loss, wanted) = learned(made, lengths), learned(plain, lengths)
        torch.testing.assert_close(loss, wanted_loss, rtol=1e-5, atol=1e-6)
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]


def test_only_blocks_that_learn_and_only_in_training() -> None:
    made = encoder()
    Freeze(blocks=2).apply(made)
    made.compile_blocks()
    assert made.compiled.blocks == list(made.blocks)[1:]
    made.train()
    assert ["forward" in vars(block) for block in made.blocks] == [False, True, True]
    made.eval()
    assert not any("forward" in vars(block) for block in made.blocks)


def test_a_last_block_that_is_narrowed_is_left_as_it_is() -> None:
    made = encoder()
    made.pool, made.narrow = "first", True
    made.compile_blocks()
    assert made.compiled.blocks == list(made.blocks)[:-1]
