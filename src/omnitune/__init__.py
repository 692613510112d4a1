"""omnitune: from a labelled table of texts, pictures, numbers and categories to a measured, saved, predicting model.

Names are resolved when they are first used, so that `import omnitune` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from omnitune.artifact import Artifact, load
    from omnitune.backbones.bert import BERT
    from omnitune.backbones.gpt import GPT
    from omnitune.backbones.pretrained import Pretrained
    from omnitune.backbones.spectrogram import Spectrogram
    from omnitune.backbones.transformer_xl import TransformerXL
    from omnitune.backbones.vit import ViT
    from omnitune.commands.alone import alone
    from omnitune.commands.augment import augment
    from omnitune.commands.check import check
    from omnitune.commands.compare import compare
    from omnitune.commands.fit import fit
    from omnitune.commands.generate import generate
    from omnitune.commands.index import index
    from omnitune.commands.infer import infer
    from omnitune.commands.retrieve import Retriever
    from omnitune.commands.search import search
    from omnitune.commands.solve import solve
    from omnitune.commands.zero_shot import ZeroShot
    from omnitune.data.table import Table
    from omnitune.errors import Mistake
    from omnitune.evaluation.report import Report
    from omnitune.fusion.attend import Attend
    from omnitune.fusion.concat import Concat
    from omnitune.fusion.cross import Cross
    from omnitune.fusion.gated import Gated
    from omnitune.fusion.late import Late
    from omnitune.modalities.audio import Audio
    from omnitune.modalities.behaviour import Behaviour, Items
    from omnitune.modalities.category import Category
    from omnitune.modalities.date import Date
    from omnitune.modalities.image import Image
    from omnitune.modalities.number import Number
    from omnitune.modalities.series import Series
    from omnitune.modalities.set import Set
    from omnitune.modalities.text import Text
    from omnitune.nn.control import Control
    from omnitune.nn.writing import Sampling
    from omnitune.recipe import Data, Recipe, Train
    from omnitune.tasks.choose import Choose
    from omnitune.tasks.classify import Classify
    from omnitune.tasks.contrast import Contrast
    from omnitune.tasks.denoise import Denoise
    from omnitune.tasks.extract import Extract
    from omnitune.tasks.forecast import Forecast
    from omnitune.tasks.generate import Generate
    from omnitune.tasks.label import Label
    from omnitune.tasks.masked_image import MaskedImage
    from omnitune.tasks.masked_text import MaskedText
    from omnitune.tasks.match import Match
    from omnitune.tasks.next_sentence import NextSentence
    from omnitune.tasks.ordinal import Ordinal
    from omnitune.tasks.prefer import Prefer
    from omnitune.tasks.quantile import Quantile
    from omnitune.tasks.rank import Rank
    from omnitune.tasks.reconstruct import Reconstruct
    from omnitune.tasks.regress import Regress
    from omnitune.tasks.tag import Tag
    from omnitune.tasks.transcribe import Transcribe
    from omnitune.tuning.auto import Auto
    from omnitune.tuning.bias import Bias
    from omnitune.tuning.freeze import Freeze
    from omnitune.tuning.full import Full
    from omnitune.tuning.lora import LoRA
    from omnitune.tuning.probe import Probe

__all__ = [
    "BERT", "GPT", "Artifact", "Attend", "Audio", "Auto", "Behaviour", "Bias", "Category", "Choose", "Classify", "Concat", "Contrast", "Control",
    "Cross", "Data", "Date", "Denoise", "Extract", "Forecast", "Freeze", "Full", "Gated", "Generate", "Image", "Items", "Label", "Late", "LoRA",
    "MaskedImage", "MaskedText", "Match", "Mistake", "NextSentence", "Number", "Ordinal", "Prefer", "Pretrained", "Probe", "Quantile", "Rank",
    "Recipe", "Reconstruct", "Regress", "Report", "Retriever", "Sampling", "Series", "Set", "Spectrogram", "Table", "Tag", "Text", "Train",
    "Transcribe", "TransformerXL", "ViT", "ZeroShot", "alone", "augment", "check", "compare", "fit", "generate", "index", "infer", "load", "search",
    "solve",
]  # fmt: skip

_HOMES = {
    "artifact": ("Artifact", "load"), "backbones.bert": ("BERT",), "backbones.gpt": ("GPT",), "backbones.pretrained": ("Pretrained",),
    "backbones.spectrogram": ("Spectrogram",), "backbones.transformer_xl": ("TransformerXL",), "backbones.vit": ("ViT",),
    "commands.alone": ("alone",), "commands.augment": ("augment",),
    "commands.check": ("check",), "commands.compare": ("compare",), "commands.fit": ("fit",),
    "commands.generate": ("generate",), "commands.index": ("index",), "commands.infer": ("infer",), "commands.retrieve": ("Retriever",),
    "commands.search": ("search",), "commands.solve": ("solve",),
    "commands.zero_shot": ("ZeroShot",), "data.table": ("Table",), "errors": ("Mistake",),
    "evaluation.report": ("Report",), "fusion.attend": ("Attend",), "fusion.concat": ("Concat",), "fusion.cross": ("Cross",),
    "fusion.gated": ("Gated",), "fusion.late": ("Late",), "modalities.audio": ("Audio",), "modalities.behaviour": ("Behaviour", "Items"),
    "modalities.category": ("Category",), "modalities.date": ("Date",), "modalities.image": ("Image",), "modalities.number": ("Number",),
    "modalities.series": ("Series",), "modalities.set": ("Set",), "modalities.text": ("Text",),
    "nn.control": ("Control",), "nn.writing": ("Sampling",),
    "recipe": ("Data", "Recipe", "Train"), "tasks.choose": ("Choose",), "tasks.classify": ("Classify",), "tasks.contrast": ("Contrast",),
    "tasks.denoise": ("Denoise",), "tasks.extract": ("Extract",), "tasks.forecast": ("Forecast",), "tasks.generate": ("Generate",),
    "tasks.label": ("Label",), "tasks.masked_image": ("MaskedImage",), "tasks.masked_text": ("MaskedText",), "tasks.match": ("Match",),
    "tasks.next_sentence": ("NextSentence",), "tasks.ordinal": ("Ordinal",), "tasks.prefer": ("Prefer",), "tasks.quantile": ("Quantile",),
    "tasks.rank": ("Rank",), "tasks.reconstruct": ("Reconstruct",), "tasks.regress": ("Regress",), "tasks.tag": ("Tag",),
    "tasks.transcribe": ("Transcribe",),
    "tuning.auto": ("Auto",),
    "tuning.bias": ("Bias",), "tuning.freeze": ("Freeze",), "tuning.full": ("Full",), "tuning.lora": ("LoRA",), "tuning.probe": ("Probe",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("omnitune")
    if name not in _HOME:
        raise AttributeError(f"module 'omnitune' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"omnitune.{_HOME[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
