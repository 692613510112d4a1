"""N-grams: what one text has in common with another, as counts that add up over rows; so that figures of many texts are sums, and resamples cheap.

Definitions follow sacrebleu 2.6 (BLEU, chrF) and rouge-score 0.1.2 (ROUGE without stemming), which the tests hold them against; words are those of
any script, where rouge-score knows letters of English alone.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

Counts = np.ndarray[tuple[int], np.dtype[np.float64]]
CHARACTERS, WORDS = 6, 4
"""The longest n-grams of chrF (Popović 2015) and of BLEU (Papineni et al. 2002)."""
WORD = re.compile(r"[^\W_]+")
ARTICLE = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
MARKS = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
"""How the standard tokenizer of BLEU (13a) parts signs from words."""


def words(text: str) -> list[str]:
    """Words in small letters, signs left out."""
    return WORD.findall(text.lower())


def rouge(said: str, true: str) -> list[float]:
    """F1 of words, of pairs of words, and of the longest common subsequence (Lin 2004, https://aclanthology.org/W04-1013)."""
    a, b = words(said), words(true)
    return [_f1(_matches(_grams(a, n), _grams(b, n)), max(0, len(a) - n + 1), max(0, len(b) - n + 1)) for n in (1, 2)] + [
        _f1(_subsequence(a, b), len(a), len(b))
    ]


def bleu(said: str, true: str) -> list[float]:
    """Tokens of both, then of n-grams of 1 to 4 tokens how many match, then how many are said."""
    a, b = (_marked(text) for text in (said, true))
    grams = [(_grams(a, n), _grams(b, n)) for n in range(1, WORDS + 1)]
    return [len(a), len(b), *(_matches(*pair) for pair in grams), *(pair[0].total() for pair in grams)]


def chrf(said: str, true: str) -> list[float]:
    """Of n-grams of 1 to 6 characters, white space left out, how many are said, then how many are true, then how many match."""
    a, b = ("".join(text.split()) for text in (said, true))
    grams = [(_grams(a, n), _grams(b, n)) for n in range(1, CHARACTERS + 1)]
    return [*(pair[0].total() for pair in grams), *(pair[1].total() for pair in grams), *(_matches(*pair) for pair in grams)]


def answer(said: str, true: str) -> list[float]:
    """Whether both are the same answer, and F1 of their words (SQuAD: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, section 6.1)."""
    a, b = (ARTICLE.sub(" ", text.lower().translate(PUNCTUATION)).split() for text in (said, true))
    return [float(a == b), _f1(_matches(Counter(a), Counter(b)), len(a), len(b)) if a and b else float(a == b)]


def corpus_bleu(sums: Counts) -> float:
    """From the sums of `bleu` over all texts, in [0, 100]; orders without a match count half a match, then a quarter, and so on (Chen and Cherry
    2014, https://aclanthology.org/W14-3346, section 3)."""
    length, wanted, matches, said = sums[0], sums[1], sums[2 : 2 + WORDS], sums[2 + WORDS :]
    if not matches.any() or not said.all():
        return 0.0
    halves = 2.0 ** -np.cumsum(matches == 0)
    precision = np.where(matches > 0, matches, halves) / said
    return float(100 * min(1.0, np.exp(1 - wanted / length)) * np.exp(np.log(precision).mean()))


def corpus_chrf(sums: Counts) -> float:
    """From the sums of `chrf` over all texts, in [0, 100]: the mean over orders of F2 (Popović 2015, https://aclanthology.org/W15-3049)."""
    said, true, match = sums.reshape(3, CHARACTERS)
    there = (said > 0) & (true > 0)
    if not there.any():
        return 0.0
    precision, recall = (match[there] / of[there] for of in (said, true))
    precision, recall = precision.mean(), recall.mean()
    return float(100 * 5 * precision * recall / (4 * precision + recall)) if precision + recall else 0.0


def distinct(texts: Sequence[str], n: int) -> list[list[float]]:
    """Of each text how many of its n-grams of words stand in no text before it, and how many it has."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for text in texts:
        grams = _grams(words(text), n)
        found.append([float(len(grams.keys() - seen)), float(grams.total())])
        seen |= grams.keys()
    return found


def _grams(items: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(items[i:] for i in range(n)), strict=False))


def _matches(a: Counter[Any], b: Counter[Any]) -> int:
    return (a & b).total()


def _f1(right: float, said: int, true: int) -> float:
    return 2 * right / (said + true) if right else 0.0


def _subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for item in a:
        before = row
        row = [0]
        for place, other in enumerate(b, 1):
            row.append(before[place - 1] + 1 if item == other else max(before[place], row[-1]))
    return row[-1]


def _marked(text: str) -> list[str]:
    """Tokens as BLEU counts them."""
    line = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for sign, letter in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        line = line.replace(sign, letter)
    line = f" {line} "
    for pattern, parted in MARKS:
        line = pattern.sub(parted, line)
    return line.split()
