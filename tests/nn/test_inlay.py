"""Vectors in the place of words: where they stand, that the model reads them, and what does not is refused."""

import pytest
import torch

from checkpoints import SPEAKING, tiny_bart, tiny_gpt2, tiny_llama, tiny_speaking, tiny_t5
from omnitune.backbones.pretrained import Pretrained
from omnitune.nn import inlay
from omnitune.nn.tokens import Tokens

WORDS = 10


def shown(*lengths: int, most: int = 3) -> Tokens:
    """Vectors of width 2, each row as many as it says."""
    x_BND = torch.arange(len(lengths) * most * 2).float().view(len(lengths), most, 2)
    return Tokens(x_BND, torch.arange(most) < torch.tensor(lengths)[:, None])


def test_vectors_stand_where_their_slot_was() -> None:
    ids, mask = torch.tensor([[1, 0, 2, 0, 3], [4, 0, 5, 0, 0]]), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]).bool()
    slots = torch.tensor([[-1, 7, -1, 8, -1], [-1, 7, -1, 8, -1]])
    laid = inlay.lay(ids, mask, slots, {7: shown(1, 3), 8: shown(2, 1, most=2)}, WORDS)
    first, second = WORDS, WORDS + 6
    assert laid.ids_BM[0][laid.mask_BM[0]].tolist() == [1, first, 2, second, second + 1, 3]
    assert laid.ids_BM[1][laid.mask_BM[1]].tolist() == [4, first + 3, first + 4, first + 5, 5, second + 2]
    assert laid.last_BL[0].tolist() == [0, 1, 2, 4, 5] and laid.last_BL[1][:4].tolist() == [0, 3, 4, 5]
    assert torch.equal(laid.vectors_KD[3:6], shown(1, 3).x_BLD[1]) and len(laid.vectors_KD) == 10


def test_a_slot_may_stand_twice_and_at_either_end() -> None:
    ids, slots = torch.tensor([[0, 5, 0]]), torch.tensor([[2, -1, 2]])
    laid = inlay.lay(ids, torch.ones(1, 3).bool(), slots, {2: shown(2)}, WORDS)
    assert laid.ids_BM.tolist() == [[10, 11, 5, 10, 11]]
    tokens = Tokens(torch.arange(5.0).view(1, 5, 1), laid.mask_BM)
    assert laid.back(tokens, torch.ones(1, 3).bool()).x_BLD.flatten().tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("folder", [tiny_llama, tiny_gpt2, tiny_t5, tiny_bart, *(name for name in SPEAKING if "bert" not in name)])
def test_language_models_read_vectors_as_they_read_words(folder: object) -> None:
    encoder = Pretrained(str(tiny_speaking(folder) if isinstance(folder, str) else folder())).encoder()  # type: ignore[operator]
    assert encoder.takes_vectors()
    assert "forward" not in vars(encoder.model.get_input_embeddings()), "all is as it was"


def test_gradients_reach_the_vectors() -> None:
    encoder = Pretrained(str(tiny_llama())).encoder().requires_grad_(False)
    words = inlay.vocabulary(encoder.model)
    vectors = torch.randn(2, 32, requires_grad=True)
    with inlay.reading(encoder.model, vectors):
        encoder(input_ids=torch.tensor([[words, 4, words + 1]]), attention_mask=torch.ones(1, 3, dtype=torch.int64)).x_BLD[:, -1].sum().backward()
    assert vectors.grad is not None and bool((vectors.grad != 0).any(1).all())


def test_a_model_that_does_more_with_numbers_is_not_trusted() -> None:
    encoder = Pretrained(str(tiny_llama())).encoder()
    plain = encoder.model.forward
    encoder.model.forward = lambda input_ids, **more: plain(input_ids=input_ids.clamp(max=20), **more)
    assert not encoder.takes_vectors()


def test_words_that_are_there_are_less_likely_and_vectors_are_no_words() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    scores = torch.randn(2, WORDS)
    ids = torch.tensor([[1, 2, 2], [3, 9, 0]])
    assert torch.equal(inlay.Repetition(1.3)(ids, scores), RepetitionPenaltyLogitsProcessor(1.3)(ids, scores.clone()))
    assert torch.equal(inlay.Repetition(1.3)(torch.tensor([[12, 40]]), scores[:1]), scores[:1])
