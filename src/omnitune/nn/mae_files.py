"""MAE to and from transformers' ViTMAE: the same numbers under other names."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import pad

from omnitune.errors import Mistake
from omnitune.nn import vit_files
from omnitune.nn.vit_config import VisionTransformerConfig
from omnitune.nn.vit_files import NAMES

if TYPE_CHECKING:
    from omnitune.nn.mae import MAE, MAEConfig
    from omnitune.nn.vit import ViT

TABLE = "decoder.decoder_pos_embed"
DECODER = NAMES | {
    **{"decoder.embed": "decoder.decoder_embed", "decoder.hidden": "decoder.mask_token", "decoder.blocks": "decoder.decoder_layers"},
    **{"decoder.norm": "decoder.decoder_norm", "decoder.pixels": "decoder.decoder_pred"},
}
SIZES = ("decoder_hidden_size", "decoder_num_hidden_layers", "decoder_num_attention_heads", "decoder_intermediate_size")
FIELDS = {name: name for name in SIZES} | {"mask_ratio": "share", "norm_pix_loss": "normalise"}
"""Their names of configuration fields, and ours, besides those of a ViT."""


def to_transformers(model: "MAE", state: Mapping[str, Tensor] | None = None) -> Any:
    """The ViTMAEForPreTraining with the same weights (or with those of `state`), copied. Raises `Mistake` where there is no class token."""
    from transformers import ViTMAEForPreTraining

    twin = vit_files.empty(ViTMAEForPreTraining, to_config(model.config), model.dtype)
    table = pad(model.decoder.positions, (0, 0, 1, 0))[None]
    twin.load_state_dict(vit_files.theirs(state or model.state_dict(), DECODER, "vit.") | {TABLE: table})
    return twin.train(model.training)


def from_transformers(twin: Any) -> "MAE":
    """The MAE with the weights of a ViTMAEForPreTraining, copied. Raises `Mistake` where it has something that MAE lacks."""
    from omnitune.nn.mae import MAE

    made: MAE = vit_files.empty(MAE, from_config(twin.config), twin.dtype)
    state = twin.state_dict()
    table = state.pop(TABLE)
    if table[0, 0].any():
        raise Mistake("decoder", "its class token has a position, which MAE lacks", "Use the model of transformers as it is")
    made.load_state_dict(vit_files.ours(state, DECODER, "vit."))
    made.decoder.positions.copy_(table[0, 1:])
    made.train(twin.training)
    return made


def encoder(twin: Any) -> "ViT":
    """The ViT inside a ViTMAEModel, its weights copied; its positions stay fixed."""
    from omnitune.nn.vit import ViT

    vit_files.known(twin.config)
    values = {ours: getattr(twin.config, name) for name, ours in vit_files.FIELDS.items()}
    made: ViT = vit_files.empty(ViT, VisionTransformerConfig(**values, positions="sincos"), twin.dtype)
    made.load_state_dict(vit_files.ours(twin.state_dict(), NAMES))
    made.train(twin.training)
    return made


def to_config(config: "MAEConfig") -> Any:
    """The configuration of transformers' ViTMAE. Raises `Mistake` where there is no class token."""
    from transformers import ViTMAEConfig

    if not config.class_token:
        raise Mistake("class_token", "a ViTMAE of transformers always has one", "Save the encoder alone, the attribute `model`")
    return ViTMAEConfig(**{theirs: getattr(config, ours) for theirs, ours in (vit_files.FIELDS | FIELDS).items()})


def from_config(theirs: Any) -> "MAEConfig":
    """Ours from that of a ViTMAE. Raises `Mistake` where it asks for what MAE lacks."""
    from omnitune.nn.mae import MAEConfig

    vit_files.known(theirs)
    return MAEConfig(**{ours: getattr(theirs, name) for name, ours in (vit_files.FIELDS | FIELDS).items()}, name_or_path=theirs.name_or_path)
