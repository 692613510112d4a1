"""The head of words in clusters against the whole softmax: the log-probabilities of all words."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from omnitune.errors import Mistake
from omnitune.nn.adaptive import AdaptiveEmbedding
from omnitune.nn.adaptive_head import NAME, AdaptiveHead
from omnitune.nn.transformer_xl import TransformerXL, TransformerXLForCausalLM
from omnitune.nn.transformer_xl_config import TransformerXLConfig

WORDS, WIDTH = 40, 12
CLUSTERS = [((10, 25), 2), ((5, 6, 39), 1), ((1,), 12), ((39,), 3)]
every = pytest.mark.parametrize(("cutoffs", "divisor"), CLUSTERS)


def config(cutoffs: tuple[int, ...] = (10, 25), divisor: int = 2) -> TransformerXLConfig:
    return TransformerXLConfig.of(1, width=WIDTH, heads=2, inner=12, context=6, vocab=WORDS, cutoffs=cutoffs, divisor=divisor)


def made(cutoffs: tuple[int, ...], divisor: int) -> tuple[AdaptiveHead, AdaptiveEmbedding]:
    """With weights so large that rare words are the likeliest of some tokens."""
    torch.manual_seed(0)
    head, words = AdaptiveHead(config(cutoffs, divisor)), AdaptiveEmbedding(WORDS, WIDTH, cutoffs, divisor)
    with torch.no_grad():
        for weight in (*head.parameters(), *words.parameters()):
            weight.normal_(0.0, 1.0)
    return head, words


def asked(tokens: int = 300) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(tokens, WIDTH, requires_grad=True), torch.randint(WORDS, (tokens,)), torch.rand(tokens)


@every
def test_loss_and_gradients_are_those_of_the_whole_softmax(cutoffs: tuple[int, ...], divisor: int) -> None:
    head, words = made(cutoffs, divisor)
    x, y, scale = asked()
    total, losses, _ = head.ask(x, y, scale, words, right=False)
    whole = head.softmax.log_probabilities(x, words)
    torch.testing.assert_close(whole.exp().sum(1), torch.ones(len(x)), atol=1e-5, rtol=0)
    wanted = -whole.gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(losses, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(total, (wanted * scale).sum(), atol=1e-4, rtol=1e-5)
    weights = [x, *head.parameters(), *words.parameters()]
    found, expected = (torch.autograd.grad(loss, weights) for loss in (total, (wanted * scale).sum()))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@every
def test_a_word_is_right_where_it_is_the_likeliest_of_all(cutoffs: tuple[int, ...], divisor: int) -> None:
    head, words = made(cutoffs, divisor)
    x, y, scale = asked(3000)
    likeliest = head.softmax.log_probabilities(x, words).argmax(1)
    assert len(set(words.cluster(likeliest).tolist())) == len(cutoffs) + 1, "every cluster holds some token's likeliest word"
    assert (head.softmax.likeliest(x, words) == likeliest).all()
    y = torch.where(torch.arange(len(y)) % 2 == 0, y, likeliest)
    *_, right = head.ask(x, y, scale, words, right=True)
    assert (right == (y == likeliest)).all()
    assert head.ask(x[:0], y[:0], scale[:0], words, right=True)[2].shape == (0,)


def test_training_scores_a_cluster_only_for_words_that_lie_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    head, words = made((10, 25), 2)
    scored: list[tuple[int, int]] = []
    real = words.narrowed

    def watched(x_ND: Tensor, cluster: int) -> Tensor:
        scored.append((cluster, len(x_ND)))
        return real(x_ND, cluster)

    monkeypatch.setattr(words, "narrowed", watched)
    x, _, scale = asked(9)
    for y, wanted in (([0, 1, 2, 3, 4, 5, 9, 24, 39], [(1, 1), (2, 1)]), ([11, 12, 1, 1, 1, 1, 1, 1, 1], [(1, 2)]), ([9] * 9, [])):
        scored.clear()
        head.ask(x, torch.tensor(y), scale, words, right=False)
        assert scored == wanted


def test_what_it_joins_is_the_language_model_and_is_read_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = TransformerXL(config()).eval()
    head = AdaptiveHead.of(base.config)
    assert head is not None
    whole, state = head.joined(base, base.state_dict())
    assert isinstance(whole, TransformerXLForCausalLM) and state.keys() == whole.state_dict().keys()
    whole.save_pretrained(tmp_path)
    again = TransformerXLForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(WORDS, (2, 6))
    torch.testing.assert_close(again(ids).logits, whole(ids).logits)
    other = AdaptiveHead(config())
    other.fill(tmp_path, base, "there")
    torch.testing.assert_close(other.state()[NAME], head.state()[NAME], rtol=0, atol=0)


def test_only_words_in_clusters_have_one() -> None:
    assert AdaptiveHead.of(config((), 1)) is None


def test_a_checkpoint_without_its_head_or_with_another_is_refused(tmp_path: Path) -> None:
    base = TransformerXL(config())
    base.save_pretrained(tmp_path / "base")
    with pytest.raises(Mistake, match=r"there: the checkpoint holds no softmax\.clusters\.weight, with which it says words"):
        AdaptiveHead(config()).fill(tmp_path / "base", base, "there")
    TransformerXLForCausalLM(config((10,), 2)).save_pretrained(tmp_path / "other")
    with pytest.raises(Mistake, match=r"softmax\.clusters\.weight is \(1, 12\), and by its config\.json \(2, 12\)"):
        AdaptiveHead(config()).fill(tmp_path / "other", base, "there")
