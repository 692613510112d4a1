"""Flat rows against padded ones: the same tokens, loss and gradients; and rows that do not touch each other."""

import pytest
import torch

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.nn import flat
from omnitune.nn.encoder import Encoder
from omnitune.tuning.full import Full

FLAT = ["bert", "distilbert", "roberta", "modernbert", "gpt2", "llama", "qwen3"]


def encoder(name: str) -> Encoder:
    made = Pretrained(str(checkpoints.TEXT[name]())).encoder()
    made.set_dropout(0.0, 0.0)
    return made


def padded(name: str) -> Encoder:
    made = encoder(name)
    made.padding.positions_from = None
    return made


def rows(lengths: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(10, 60, mask.shape, generator=random)
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


def gradients(made: Encoder, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    Full().apply(made)
    loss = made.train()(**inputs).pooled().square().mean()
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in made.named_parameters() if p.grad is not None}


def test_which_models_read_flat_rows() -> None:
    assert [name for name in checkpoints.TEXT if encoder(name).padding.positions_from is not None] == FLAT
    assert encoder("roberta").padding.positions_from == 2


@pytest.mark.parametrize("name", FLAT)
def test_same_loss_and_gradients_as_padded(name: str) -> None:
    inputs = rows([5, 20, 9, 1, 20, 13])
    loss, found = gradients(encoder(name), inputs)
    wanted_loss, wanted = gradients(padded(name), inputs)
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-5, atol=1e-6)
    assert found.keys() == wanted.keys()
    for weight, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[weight], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_row_is_the_same_bit_for_bit_beside_any_other() -> None:
    made, inputs = Pretrained("sample:minilm-l6").encoder(), rows([19, 125, 31, 25, 22, 31])
    together = made(**inputs).x_BLD
    for i, length in enumerate(inputs["attention_mask"].sum(1)):
        alone = made(**{key: value[i : i + 1, :length] for key, value in inputs.items()}).x_BLD
        assert torch.equal(together[i, :length], alone[0])


@pytest.mark.parametrize("name", ["modernbert", "gpt2"])
def test_rows_longer_than_a_window_and_recomputed_blocks(name: str) -> None:
    inputs = rows([40, 3, 31])
    made, plain = encoder(name), padded(name)
    made.recompute()
    _, found = gradients(made, inputs)
    _, wanted = gradients(plain, inputs)
    for weight, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[weight], rtol=1e-5, atol=1e-5)


def test_no_padding_is_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs, seen = encoder("bert"), rows([3, 30, 7]), []
    made.blocks[0].register_forward_hook(lambda block, args, output: seen.append(args[0].shape[:2]))
    made(**inputs)
    assert seen == [(1, 40)]


def test_layout() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]]).bool()
    layout, x = flat.Layout.of(mask), torch.arange(9).view(3, 3)
    assert layout.flatten(x).tolist() == [[6, 0, 1, 3, 4, 5]]
    assert layout.positions.tolist() == [0, 0, 1, 0, 1, 2] and layout.lengths.flatten().tolist() == [1, 2, 3]
    assert torch.equal(layout.pad(layout.flatten(x[..., None]))[..., 0], x * mask)


def test_memory_that_ends_in_the_proof_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    made = encoder("bert")

    def ends(*args: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(flat, "_tokens", ends)
    with pytest.raises(torch.OutOfMemoryError):
        flat.wrong(made.model, 0)
    with pytest.raises(torch.OutOfMemoryError):
        flat._proved(made.model, torch.zeros(1))
