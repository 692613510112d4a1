import pytest
import torch
from torch import nn

from omnitune.nn.attention import Attention
from omnitune.nn.block import Block


def twin(attention: Attention, width: int) -> nn.MultiheadAttention:
    """torch's own attention with the same weights."""
    reference = nn.MultiheadAttention(width, attention.heads, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(attention.qkv.weight)
        reference.in_proj_bias.copy_(attention.qkv.bias)
        reference.out_proj.weight.copy_(attention.out.weight)
        reference.out_proj.bias.copy_(attention.out.bias)
    return reference


def tokens(rows: int = 3, length: int = 7, width: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    mask = torch.arange(length)[None] < torch.tensor([[length], [4], [1]])[:rows]
    return torch.randn(rows, length, width), mask


@pytest.mark.parametrize("heads", [1, 3, 12])
@pytest.mark.parametrize("masked", [True, False])
def test_attention_equals_that_of_torch(heads: int, masked: bool) -> None:
    x, mask = tokens()
    attention = Attention(12, heads)
    expected, _ = twin(attention, 12)(x, x, x, key_padding_mask=~mask if masked else None, need_weights=False)
    found = attention(x, mask if masked else None)
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("heads", [1, 4])
def test_block_equals_the_pre_norm_layer_of_torch(heads: int) -> None:
    x, mask = tokens(width=8)
    block = Block(8, heads).eval()
    reference = nn.TransformerEncoderLayer(8, heads, 32, activation="gelu", batch_first=True, norm_first=True).train()
    reference.dropout.p = reference.dropout1.p = reference.dropout2.p = reference.self_attn.dropout = 0.0
    reference.self_attn = twin(block.attention, 8)
    reference.linear1, reference.linear2 = block.mlp.up, block.mlp.down
    reference.norm1, reference.norm2 = block.norm1, block.norm2
    for norm in (block.norm1, block.norm2):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    torch.testing.assert_close(block(x, mask)[mask], reference(x, src_key_padding_mask=~mask)[mask], atol=1e-5, rtol=1e-5)


def test_masked_tokens_are_not_seen_and_get_no_gradient() -> None:
    x, mask = tokens(width=8)
    block = Block(8, 2).eval()
    other = torch.where(mask[..., None], x, 1e3)
    torch.testing.assert_close(block(other, mask)[mask], block(x, mask)[mask])
    x.requires_grad_()
    block(x, mask)[mask].square().sum().backward()
    assert x.grad is not None
    assert not x.grad[~mask].any() and x.grad[mask].abs().sum(1).gt(0).all()


def test_dropout_works_in_training_alone() -> None:
    x, mask = tokens(width=8)
    for module in (Attention(8, 2, dropout=0.5), Block(8, 2, dropout=0.5)):
        assert not torch.equal(module(x, mask), module(x, mask))
        module.eval()
        assert torch.equal(module(x, mask), module(x, mask))
