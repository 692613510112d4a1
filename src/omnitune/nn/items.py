"""Items: a vector for each of many things, of its name and of what is known about it.

Shape letters: N items that have a place, U different ones of them, M members of their cells, D width, F width of what describes them.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

UNKNOWN = 0
"""The place of every item that neither training nor a table knows."""
SMALL = 0.02
"""Deviation of first vectors."""


class ItemVectors(nn.Module):
    """One vector an item: its own, or the learned stand-in of items that have none, plus one of what describes it.

    Args:
        items: N, places 1 to N.
        own: how many of them, the first, have a vector of their own.
        width: D.
        hide: share of items that training reads as if they had no vector of their own, so that the stand-in learns, and so do descriptions
            to do without (DropoutNet, Volkovs et al. 2017).
        described: by what else, a module a column.
    """

    def __init__(self, items: int, own: int, width: int, hide: float = 0.0, described: Sequence["Description"] = ()) -> None:
        super().__init__()
        self.count, self.own, self.width, self.hide = items, own, width, hide
        self.ids = nn.Embedding(1 + own, width)
        nn.init.normal_(self.ids.weight, std=SMALL)
        self.described = nn.ModuleList(described)

    def forward(self, places: Tensor) -> Tensor:
        """Vectors of these places, (*places.shape, D); each different place is computed once."""
        different_U, back = torch.unique(places, return_inverse=True)
        vectors: Tensor = self.vectors(different_U)[back]
        return vectors

    def every(self) -> Tensor:
        """Vectors of all places but that of the unknown item, (N, D)."""
        return self.vectors(torch.arange(1, self.count + 1, device=self.ids.weight.device))

    def vectors(self, places_U: Tensor) -> Tensor:
        """Of different places, (U, D)."""
        own_U = places_U <= self.own
        if self.training and self.hide:
            own_U = own_U & (torch.rand(places_U.shape, device=places_U.device) >= self.hide)
        vectors_UD: Tensor = self.ids(torch.where(own_U, places_U, UNKNOWN))
        for description in self.described:
            vectors_UD = vectors_UD + description(places_U)
        return vectors_UD


class Description(nn.Module):
    """What one column says of items: the mean of the vectors of a cell's members, at one scale, through a linear map that starts small.

    Args:
        read: vectors of members, (M, F), from their numbers, (M,).
        counts: members of each item, (N,); 0 where its cell is missing.
        inner: F.
        width: D.
    """

    starts: Tensor

    def __init__(self, read: "Learned | Kept", counts: Sequence[int], inner: int, width: int) -> None:
        super().__init__()
        self.read = read
        starts = torch.tensor([0, 0, *counts], dtype=torch.int64).cumsum(0)  # the unknown item, at place 0, has no members
        self.register_buffer("starts", starts, persistent=False)
        self.map = nn.Linear(inner, width, bias=False)
        nn.init.normal_(self.map.weight, std=SMALL * inner**-0.5)

    def forward(self, places_U: Tensor) -> Tensor:
        """(U, D); zeros where nothing is said."""
        first_U, count_U = self.starts[places_U], self.starts[places_U + 1] - self.starts[places_U]
        of_M = torch.repeat_interleave(torch.arange(len(places_U), device=places_U.device), count_U)
        within_M = torch.arange(len(of_M), device=places_U.device) - (count_U.cumsum(0) - count_U)[of_M]
        if not len(of_M):
            return torch.zeros(len(places_U), self.map.out_features, device=places_U.device)
        read_MF = self.read(first_U[of_M] + within_M).float()
        mean_UF = torch.zeros(len(places_U), read_MF.shape[1], device=places_U.device).index_add(0, of_M, rms_norm(read_MF, read_MF.shape[1:]))
        described_UD: Tensor = self.map(mean_UF / count_U.clamp(min=1)[:, None])
        return described_UD


class Learned(nn.Module):
    """Members by an encoder that learns with the rest.

    Args:
        encoder: from encoded tensors to `Tokens`.
        encoded: of all members, first dimension M.
    """

    def __init__(self, encoder: nn.Module, encoded: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.encoder, self.names = encoder, list(encoded)
        for i, tensor in enumerate(encoded.values()):
            self.register_buffer(f"encoded_{i}", tensor, persistent=False)

    def forward(self, numbers_M: Tensor) -> Tensor:
        """(M, F)."""
        chosen = {name: self.get_buffer(f"encoded_{i}")[numbers_M] for i, name in enumerate(self.names)}
        pooled: Tensor = self.encoder(chosen).pooled()
        return pooled


class Kept(nn.Module):
    """Members by a pretrained encoder that does not learn: read once, at the first use, and saved with the model, which then needs
    that encoder no more.

    Args:
        make: reads all members, (M, F).
        members: M.
        inner: F.
    """

    vectors: Tensor
    made: Tensor

    def __init__(self, make: Callable[[], Tensor], members: int, inner: int) -> None:
        super().__init__()
        self.make = make
        self.register_buffer("vectors", torch.zeros(members, inner))
        self.register_buffer("made", torch.tensor(False))

    def forward(self, numbers_M: Tensor) -> Tensor:
        """(M, F)."""
        if not self.made:
            with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.autocast(self.vectors.device.type, enabled=False):
                self.vectors.copy_(self.make())
            self.made.fill_(True)
        return self.vectors[numbers_M]
