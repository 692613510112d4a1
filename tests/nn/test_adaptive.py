import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from omnitune.errors import Mistake
from omnitune.nn.adaptive import AdaptiveEmbedding, AdaptiveSoftmax

WORDS, WIDTH = 40, 12
CLUSTERS = [((10, 25), 2), ((5, 6, 39), 1), ((1,), 12), ((39,), 3)]
every = pytest.mark.parametrize(("cutoffs", "divisor"), CLUSTERS)


def pair(cutoffs: tuple[int, ...], divisor: int) -> tuple[AdaptiveEmbedding, AdaptiveSoftmax]:
    torch.manual_seed(0)
    return AdaptiveEmbedding(WORDS, WIDTH, cutoffs, divisor).double(), AdaptiveSoftmax(WIDTH, len(cutoffs)).double()


def asked(tokens: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(tokens, WIDTH, dtype=torch.float64, requires_grad=True), torch.randint(WORDS, (tokens,))


def vectors(words: AdaptiveEmbedding) -> torch.Tensor:
    """Every word's vector, one after the other."""
    made = []
    for word in range(WORDS):
        cluster = max(i for i, edge in enumerate(words.edges[:-1]) if edge <= word)
        row = words.tables[cluster].weight[word - words.edges[cluster]]
        projection = words.projections[cluster]
        made.append(projection.weight @ row if isinstance(projection, nn.Linear) else row)
    return torch.stack(made)


@every
def test_words_find_their_own_vectors_and_give_them_their_gradients(cutoffs: tuple[int, ...], divisor: int) -> None:
    words, _ = pair(cutoffs, divisor)
    ids = torch.randint(WORDS, (3, 5, 7))
    weight = torch.randn(3, 5, 7, WIDTH, dtype=torch.float64)
    found, wanted = words(ids), vectors(words)[ids]
    torch.testing.assert_close(found, wanted)
    grads = [torch.autograd.grad((x * weight).sum(), list(words.parameters()), retain_graph=True) for x in (found, wanted)]
    torch.testing.assert_close(*grads)


@every
def test_clusters_are_narrower_by_the_divisor(cutoffs: tuple[int, ...], divisor: int) -> None:
    words, _ = pair(cutoffs, divisor)
    edges = enumerate(zip((0, *cutoffs), (*cutoffs, WORDS), strict=True))
    assert [tuple(table.weight.shape) for table in words.tables] == [(high - low, WIDTH // divisor**i) for i, (low, high) in edges]
    assert words(torch.tensor([[WORDS - 1]])).shape == (1, 1, WIDTH)
    assert words(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, WIDTH)


@every
def test_the_softmax_is_the_one_of_torch_tied(cutoffs: tuple[int, ...], divisor: int) -> None:
    words, softmax = pair(cutoffs, divisor)
    assert softmax.clusters is not None
    theirs = nn.AdaptiveLogSoftmaxWithLoss(WIDTH, WORDS, list(cutoffs), div_value=divisor).double()
    with torch.no_grad():
        theirs.head.weight.copy_(torch.cat([words.tables[0].weight, softmax.clusters.weight]))
        for i, (project, score) in enumerate(theirs.tail, 1):  # type: ignore[misc]
            projection = words.projections[i]
            project.weight.copy_(projection.weight.T if isinstance(projection, nn.Linear) else torch.eye(WIDTH))
            score.weight.copy_(words.tables[i].weight)
    x, y = asked()
    probabilities, losses = softmax.log_probabilities(x, words), softmax.losses(x, y, words)
    torch.testing.assert_close(probabilities, theirs.log_prob(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses, -theirs(x, y).output, atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad(losses.sum(), [x, words.tables[1].weight, softmax.clusters.weight])
    *want, head = torch.autograd.grad(-theirs(x, y).output.sum(), [x, theirs.tail[0][1].weight, theirs.head.weight])  # type: ignore[index]
    torch.testing.assert_close(ours, (*want, head[cutoffs[0] :]), atol=1e-5, rtol=1e-5)


@every
def test_probabilities_sum_to_one_and_the_loss_is_their_logarithm(cutoffs: tuple[int, ...], divisor: int) -> None:
    words, softmax = pair(cutoffs, divisor)
    x, y = asked()
    found = softmax.log_probabilities(x, words)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(len(x)).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(softmax.losses(x, y, words), -found.gather(1, y[:, None])[:, 0], atol=1e-6, rtol=1e-6)


def test_one_cluster_is_the_plain_tied_softmax() -> None:
    words, softmax = pair((), 4)
    assert not list(softmax.parameters())
    x, y = asked()
    scores = x @ words.tables[0].weight.T
    torch.testing.assert_close(softmax.log_probabilities(x, words), scores.log_softmax(1), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(softmax.losses(x, y, words), cross_entropy(scores, y, reduction="none"), atol=1e-6, rtol=1e-6)


def test_scores_of_rare_words_are_made_for_tokens_that_ask_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    words, softmax = pair((10, 25), 2)
    made: list[tuple[int, ...]] = []
    real = words.scores

    def watched(x: torch.Tensor, cluster: int) -> torch.Tensor:
        scores = real(x, cluster)
        made.append(tuple(scores.shape))
        return scores

    monkeypatch.setattr(words, "scores", watched)
    x, _ = asked(9)
    softmax.losses(x, torch.tensor([0, 1, 2, 3, 4, 5, 9, 24, 39]), words)
    assert made == [(9, 10), (1, 15), (1, 15)]
    made.clear()
    softmax.losses(x, torch.arange(9), words)
    assert made == [(9, 10)]
    assert softmax.losses(x[:0], torch.arange(0), words).shape == (0,)


@pytest.mark.parametrize("cutoffs", [(), (10, 25)])
@pytest.mark.parametrize("word", [WORDS, -1])
def test_a_word_that_is_none_is_refused(cutoffs: tuple[int, ...], word: int) -> None:
    words, softmax = pair(cutoffs, 1)
    with pytest.raises((IndexError, RuntimeError)):
        words(torch.tensor([word]))
    with pytest.raises((IndexError, RuntimeError)):
        softmax.losses(asked(1)[0], torch.tensor([word]), words)


@pytest.mark.parametrize("cutoffs", [(0, 5), (5, 5), (7, 5), (5, WORDS)])
def test_wrong_cutoffs_are_refused(cutoffs: tuple[int, ...]) -> None:
    with pytest.raises(Mistake, match="do not cut 40 words"):
        AdaptiveEmbedding(WORDS, WIDTH, cutoffs)


def test_a_divisor_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(Mistake, match="width 12 cannot be divided by 4 2 times"):
        AdaptiveEmbedding(WORDS, WIDTH, (5, 10), 4)
