"""Vocabularies of three families, learned by the `tokenizers` library.

bpe        byte-level byte pair encoding of GPT-2 (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909): every text comes back as it was
wordpiece  of BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805), learned as byte pairs are: [CLS] .. [SEP]
unigram    of SentencePiece (Kudo 2018, https://arxiv.org/abs/1804.10959), with the special tokens of T5: .. </s>
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = {
    "bpe": {"eos_token": "<|endoftext|>"},
    "wordpiece": {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
    "unigram": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
}
"""Special tokens by their role; their numbers are 0, 1, 2 and so on."""
BYTES = 256
FREQUENCY = 2
"""Times that two tokens must stand side by side to become one."""
TOGETHER = 1000
"""Copies of a word that are handed over at once."""


class Refused(Exception):
    """The library could learn nothing; it says why."""


def bpe(parts: Iterator[str], size: int, lowercase: bool) -> Tokenizer:
    """On bytes, so no text is unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    assert not lowercase, "it would change texts"
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    special, alphabet = list(SPECIAL["bpe"].values()), sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=FREQUENCY, show_progress=False, special_tokens=special, initial_alphabet=alphabet)
    _learn(made, parts, trainer)
    return made


def wordpiece(parts: Iterator[str], size: int, lowercase: bool) -> Tokenizer:
    """On words; characters beyond half the room, the rarest ones, are unknown.

    The library numbers the characters within words in an order that changes from run to run, and ties go by number. So words are counted
    first, and the trainer is given these characters in order, as if they were special.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.WordPiece(unk_token=SPECIAL["wordpiece"]["unk_token"]))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    words = _words(made, parts)
    special = list(SPECIAL["wordpiece"].values())
    alphabet, within = _characters(words, (size - len(special)) // 4)  # a character is up to two tokens: at the start of a word, and within
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=FREQUENCY, show_progress=False, special_tokens=[*special, *within], initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
    )  # fmt: skip
    _learn(made, _again(words), trainer)
    made = _without_special(made, set(within))
    tokens = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=tokens)
    return made


def unigram(parts: Iterator[str], size: int, lowercase: bool) -> Tokenizer:
    """On texts whose spaces are letters; runs of spaces are one, and forms of a character are one (NFKC).

    What is learned changes a little from run to run: the library adds probabilities up in an order of chance, and what falls to it decides
    which pieces stay.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.Unigram())
    small = [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()] if lowercase else []
    made.normalizer = normalizers.Sequence([normalizers.Nmt(), *small, normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    special = SPECIAL["unigram"]
    trainer = trainers.UnigramTrainer(vocab_size=size, show_progress=False, special_tokens=list(special.values()), unk_token=special["unk_token"])
    _learn(made, parts, trainer)
    end = [("</s>", made.token_to_id("</s>"))]
    made.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=end)
    return made


def _learn(made: Tokenizer, parts: Iterator[str], trainer: Any) -> None:
    try:
        made.train_from_iterator(parts, trainer)
    except Exception as error:
        if type(error) is not Exception:  # of the texts; what the library raises is of no type of its own
            raise
        raise Refused(str(error)) from None


def _words(made: Tokenizer, parts: Iterator[str]) -> Counter[str]:
    """How often each word stands in the texts."""
    found: Counter[str] = Counter()
    for part in parts:
        found.update(word for word, _ in made.pre_tokenizer.pre_tokenize_str(made.normalizer.normalize_str(part)))
    return found


def _characters(words: Counter[str], most: int) -> tuple[list[str], list[str]]:
    """The `most` frequent characters, and those of them that stand within words, as tokens."""
    found: Counter[str] = Counter()
    within = set[str]()
    for word, times in words.items():
        within.update(word[1:])
        for character in word:
            found[character] += times
    chosen = sorted(sorted(found, key=lambda character: (-found[character], character))[: max(most, 1)])
    return chosen, [f"##{character}" for character in chosen if character in within]


def _again(words: Counter[str]) -> Iterator[str]:
    """Every word as often as it was counted."""
    for word in sorted(words):
        whole, rest = divmod(words[word], TOGETHER)
        for times in [TOGETHER] * whole + [rest] * bool(rest):
            yield " ".join([word] * times)


def _without_special(made: Tokenizer, plain: set[str]) -> Tokenizer:
    """With the tokens `plain` as usual ones."""
    from tokenizers import Tokenizer

    facts = json.loads(made.to_str())
    facts["added_tokens"] = [token for token in facts["added_tokens"] if token["content"] not in plain]
    return Tokenizer.from_str(json.dumps(facts))
