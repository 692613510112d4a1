"""AdaptiveHead: what a model says words with whose words lie in clusters (see `adaptive`). It stands where other checkpoints have an `LMHead`.

Shape letters: N places that are asked about, D width, V vocabulary, C clusters behind the first.
"""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from omnitune.checksums import AGAIN
from omnitune.errors import Mistake
from omnitune.nn import weights
from omnitune.nn.adaptive import AdaptiveEmbedding, AdaptiveSoftmax
from omnitune.nn.linear_cross_entropy import linear_cross_entropy

NAME = "softmax.clusters.weight"
"""Of its own weight, in the file of the whole model."""
TOGETHER = 1024
"""Tokens whose likeliest word is sought at once."""


class AdaptiveHead(nn.Module):
    """A stand-in for each cluster of rare words, (C, D); the words themselves are the tables that the base model reads them from.

    Args:
        config: of a Transformer-XL with cutoffs.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.softmax = AdaptiveSoftmax(config.hidden_size, len(config.cutoffs))
        assert self.softmax.clusters is not None, "there is more than one cluster"
        nn.init.normal_(self.softmax.clusters.weight, std=config.initializer_range)

    @classmethod
    def of(cls, config: Any) -> Self | None:
        """With new weights; None where all words lie in one table."""
        return cls(config) if config.model_type == "transformer_xl" and config.cutoffs else None

    def ask(self, x_ND: Tensor, y_N: Tensor, scale_N: Tensor, words: AdaptiveEmbedding, right: bool) -> tuple[Tensor, Tensor, Tensor]:
        """As `linear_cross_entropy`: the sum of `scale` times each token's loss, with gradients; and without, each loss, and whether the likeliest
        of all words is the right one. A cluster is scored only for tokens whose word lies in it, and to find the likeliest word, which is not done
        where `right` is False; then it holds nothing.

        Args:
            x_ND: float32.
            y_N: int64, the right words.
            scale_N: how much each token counts.
            words: the tables of the base model.
        """
        edges, cluster_N = words.edges, words.cluster(y_N)
        table: Any = words.tables[0]
        first_VD = torch.cat([table.weight, self.state()[NAME]]).float()
        first_N = torch.where(cluster_N > 0, edges[1] + cluster_N - 1, y_N)
        total, losses_N, _ = linear_cross_entropy(x_ND, first_VD, None, first_N, scale_N)
        for i in range(1, len(edges) - 1):
            here = (cluster_N == i).nonzero()[:, 0]
            if len(here):
                x_NE, table = words.narrowed(x_ND[here], i), words.tables[i]
                more, inside_N, _ = linear_cross_entropy(x_NE, table.weight.float(), None, y_N[here] - edges[i], scale_N[here])
                total, losses_N = total + more, losses_N.index_add(0, here, inside_N)
        said = [self.softmax.likeliest(part, words) for part in torch.split(x_ND, TOGETHER)] if right else []
        return total, losses_N, torch.cat(said) == y_N if said else y_N.new_zeros(0, dtype=torch.bool)

    @torch.no_grad()
    def fill(self, folder: Path, base: Any, where: str, added: int = 0) -> None:
        """Reads its weight. Raises `Mistake` where the checkpoint holds none, or one of other clusters."""
        assert not added, "words that are numbered by frequency leave no place for more"
        own = self.state()[NAME]
        found = weights.some(weights.files(folder, where), {NAME}, where).get(NAME)
        if found is None:
            raise Mistake(where, f"the checkpoint holds no {NAME}, with which it says words", "Choose one saved with its language head")
        if found.shape != own.shape:
            raise Mistake(where, f"{NAME} is {tuple(found.shape)}, and by its config.json {tuple(own.shape)}", AGAIN)
        own.copy_(found)

    def state(self) -> dict[str, Tensor]:
        """Its own weight, by its name in the file of the whole model."""
        return {NAME: self.get_parameter(NAME)}

    def assemble(self, base: Any) -> Any:
        """The language model around `base`, whose weights it shares."""
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            made: Any = AutoModelForCausalLM.from_config(base.config)
        setattr(made, made.base_model_prefix, base)
        made.softmax = self.softmax
        return made.eval()

    def joined(self, base: Any, state: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
        """The language model and its weights, those of `base` being `state`."""
        return self.assemble(base), {f"{base.base_model_prefix}.{name}": tensor for name, tensor in state.items()} | self.state()
