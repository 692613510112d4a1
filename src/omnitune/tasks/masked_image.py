"""masked_image: what do the hidden parts of a picture look like?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.tasks import Facts, SelfSupervised, Target

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch

HEAD = 32
"""Width of a head of the decoder, as He et al. have it."""


@component
class MaskedImage(SelfSupervised):
    """Patches that were hidden in a picture: a masked autoencoder (He et al. 2022, https://arxiv.org/abs/2111.06377), for pre-training a ViT. Its
    blocks compute the visible patches alone; a light decoder, which is saved with the run, draws the others.

    What is hidden is drawn anew in every epoch. Measured on validation and test rows with one draw a row that never changes.

    Args:
        of: the image input; its backbone must be a ViT or built like one.
        share: of its patches that are hidden.
        normalise: asks for each patch less its own mean, in units of its own deviation: it teaches more, but says less of how a picture looks.
        decoder_depth: blocks of the decoder; a third of the backbone's where left out.
        decoder_width: of the decoder; half of the backbone's where left out, in steps of 32.
    """

    form: ClassVar[Literal["tokens", "pixels"]] = "pixels"
    asks: ClassVar[Literal["language", "patches"]] = "patches"
    deep: ClassVar[bool] = True

    share: Annotated[float, Field(gt=0, lt=1)] = 0.75
    normalise: bool = True
    decoder_depth: Annotated[int, Field(ge=1)] | None = None
    decoder_width: Annotated[int, Field(ge=4, multiple_of=4)] | None = None

    def learn_from(self, facts: Facts) -> Facts:
        """`patch`, the side of patches, and of pictures `size`, `mean` and `std`.

        Raises:
            Mistake: the backbone does not cut pictures into patches, or makes one of the whole.
        """
        height, width = facts["size"]
        if not facts["patch"] or (height // facts["patch"]) * (width // facts["patch"]) < 2:
            wrong = f"the backbone of {self.of!r} " + ("sees one patch only" if facts["patch"] else "does not cut pictures into patches")
            raise Mistake("masked_image", wrong, "Choose a ViT, from scratch (`kind: vit`) or a checkpoint")
        return facts

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """A batch that tells which patches are `visible`; what `PixelHead` wants."""
        import torch

        from omnitune.nn.mae import choose

        inputs = batch.inputs[self.of]
        visible_BK, hidden_BM = choose(self._noise(batch.rows, facts, rng), self.share)
        weight_B = inputs["present"].float()
        y_B1 = torch.full((batch.size, 1), float(hidden_BM.shape[1] * 3 * facts["patch"] ** 2))
        seen = replace(batch, inputs=batch.inputs | {self.of: inputs | {"visible": visible_BK}})
        return seen, {"pixels": inputs["pixels"], "visible": visible_BK, "hidden": hidden_BM, "y": y_B1, "weight": weight_B}

    def _noise(self, rows: np.ndarray[Any, Any], facts: Facts, rng: np.random.Generator | None) -> Tensor:
        """(B, P): of a row always the same where nothing is drawn."""
        import numpy as np
        import torch

        height, width = facts["size"]
        patches = (height // facts["patch"]) * (width // facts["patch"])
        if rng is not None:
            return torch.from_numpy(rng.random((len(rows), patches)))
        return torch.from_numpy(np.stack([np.random.default_rng(row).random(patches) for row in rows.tolist()]))

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `PixelHead`; from now on the backbone computes visible patches alone where it is told of them."""
        from omnitune.nn.mae import Decoder
        from omnitune.nn.pixels import PixelHead

        encoder, patch, (rows, columns) = backbones[self.of], facts["patch"], facts["size"]
        encoder.show(patch, (rows, columns))
        inside = self.decoder_width or max(HEAD, encoder.width // 2 // HEAD * HEAD)
        heads = inside // HEAD if inside % HEAD == 0 else 1
        depth = self.decoder_depth or max(1, len(encoder.blocks) // 3)
        decoder = Decoder(encoder.width, (rows // patch, columns // patch), 3 * patch**2, inside, depth, heads)
        return PixelHead(self.of, decoder, patch, facts["mean"], facts["std"], self.normalise)

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """The mean squared error of a hidden number, in units of what is asked for, and the share of a picture's variance that is explained."""
        from omnitune.nn.metrics import pixel_metrics

        return pixel_metrics()
