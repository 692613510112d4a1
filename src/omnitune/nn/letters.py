"""Letters: what the tokens of a sound say by CTC, likeliest letter by letter or by a search over prefixes.

Shape letters: B rows, L tokens of a sound, V letters with the blank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from omnitune.errors import Mistake
from omnitune.nn.ctc import CTCHead, collapsed
from omnitune.nn.scribe import Scribe, Window
from omnitune.nn.tokens import Tokens
from omnitune.nn.writing import Sampling, Written

Array = np.ndarray[Any, Any]
NARROW = 12
"""Letters of a token that a search looks at, the likeliest: the rest of them together is next to nothing."""
SPACE = " "


@dataclass(frozen=True)
class Path:
    """What a window says.

    Args:
        letters: by number.
        starts, stops: of each, in seconds of the sound.
        probabilities: of each, that of its likeliest token.
    """

    letters: list[int]
    starts: list[float]
    stops: list[float]
    probabilities: list[float]


class Letters(Scribe):
    """Writes letters.

    Args:
        head: that says them.
        facts: see `Transcribe.learn_from`.
        timed: whether it is told when each word is said.
    """

    def __init__(self, head: CTCHead, facts: dict[str, Any], timed: bool) -> None:
        self.head, self.timed, self.blank = head, timed, int(facts["blank"])
        self.letters = [SPACE if number == facts["space"] else letter for number, letter in enumerate(facts["letters"])]
        self.silent = {self.blank, *([] if facts["unknown"] is None else [facts["unknown"]])}

    @torch.inference_mode()
    def heard(self, tokens: Tokens, windows: Sequence[Window], sampling: Sampling) -> list[Path]:
        """See `Scribe.heard`. Raises `Mistake` where letters are to be drawn: they are found."""
        if sampling.temperature or sampling.stop_strings or sampling.repetition_penalty != 1:
            raise Mistake("sampling", "letters are found, not drawn", "Set temperature: 0 and num_beams alone")
        said_BLV, lengths = self.head.log_probabilities(tokens).cpu().numpy(), tokens.mask_BL.sum(1).tolist()
        return [self._path(said[:length], window, sampling) for said, length, window in zip(said_BLV, lengths, windows, strict=True)]

    def _path(self, said_LV: Array, window: Window, sampling: Sampling) -> Path:
        """The letters of the tokens that are this window's own."""
        tick = (window.stop - window.start) / max(1, len(said_LV))
        own = [place for place in range(len(said_LV)) if window.owns(window.start + (place + 0.5) * tick)]
        if not own:
            return Path([], [], [], [])
        said_LV, first = said_LV[own], window.start + own[0] * tick
        path = (
            said_LV.argmax(1).tolist() if sampling.num_beams == 1 else aligned(said_LV, searched(said_LV, self.blank, sampling.num_beams), self.blank)
        )
        found = collapsed(path, self.blank)
        likely = [float(np.exp(said_LV[a:b, letter].max())) for letter, a, b in found]
        return Path([letter for letter, _, _ in found], [first + a * tick for _, a, _ in found], [first + b * tick for _, _, b in found], likely)

    def joined(self, parts: Sequence[tuple[Window, Path]]) -> Written:
        """See `Scribe.joined`. A letter that goes on over the border of two windows is one."""
        letters, starts, stops, likely = list[int](), list[float](), list[float](), list[float]()
        for _, path in parts:
            again = bool(letters and path.letters) and letters[-1] == path.letters[0] and path.starts[0] <= stops[-1]
            letters, likely = letters + path.letters[again:], likely + path.probabilities[again:]
            starts, stops = starts + path.starts[again:], stops + path.stops[again:]
        kept = [place for place, letter in enumerate(letters) if letter not in self.silent]
        spelled = [self.letters[letters[place]] for place in kept]
        words = self._words(spelled, [starts[place] for place in kept], [stops[place] for place in kept]) if self.timed else None
        return Written(" ".join("".join(spelled).split()), tuple(spelled), tuple(likely[place] for place in kept), words)

    def _words(self, spelled: list[str], starts: list[float], stops: list[float]) -> tuple[tuple[float, float, str], ...]:
        """Each word with its first and last second."""
        found, here = list[tuple[float, float, str]](), list[int]()
        for place, letter in enumerate([*spelled, SPACE]):
            if letter != SPACE:
                here.append(place)
            elif here:
                found.append((round(starts[here[0]], 2), round(stops[here[-1]], 2), "".join(spelled[i] for i in here)))
                here = []
        return tuple(found)


def searched(said_LV: Array, blank: int, beams: int) -> list[int]:
    """The letters whose ways to be said are likeliest together, by the search over prefixes of Graves (2012, Supervised Sequence Labelling, section
    7.5.3), of which `beams` are followed.

    Args:
        said_LV: log probabilities.
        blank: the number of the blank.
        beams: one at least.
    """
    nothing = -np.inf
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, nothing)}  # how likely with a blank at the end, and with a letter
    for said_V in said_LV:
        likeliest = np.argpartition(-said_V, min(NARROW, len(said_V) - 1))[:NARROW].tolist()
        after: dict[tuple[int, ...], list[float]] = {}
        for prefix, (ended, open_) in kept.items():
            for letter in {*likeliest, blank}:
                chance = float(said_V[letter])
                if letter == blank:
                    _add(after, prefix, 0, np.logaddexp(ended, open_) + chance)
                elif prefix and letter == prefix[-1]:
                    _add(after, prefix, 1, open_ + chance)
                    _add(after, (*prefix, letter), 1, ended + chance)
                else:
                    _add(after, (*prefix, letter), 1, np.logaddexp(ended, open_) + chance)
        best = sorted(after.items(), key=lambda item: -float(np.logaddexp(item[1][0], item[1][1])))[:beams]
        kept = {prefix: (ended, open_) for prefix, (ended, open_) in best}
    return list(next(iter(kept)))


def _add(to: dict[tuple[int, ...], list[float]], prefix: tuple[int, ...], place: int, chance: float) -> None:
    to.setdefault(prefix, [-np.inf, -np.inf])[place] = float(np.logaddexp(to.get(prefix, [-np.inf, -np.inf])[place], chance))


def aligned(said_LV: Array, letters: Sequence[int], blank: int) -> list[int]:
    """The likeliest path that says these letters (Viterbi), a letter or the blank at each token, (L,)."""
    states = [blank, *(number for letter in letters for number in (letter, blank))]
    score = np.full(len(states), -np.inf)
    score[: 2 if letters else 1] = said_LV[0, states[:2]] if letters else said_LV[0, states[:1]]
    skips = np.array([i >= 2 and states[i] != blank and states[i] != states[i - 2] for i in range(len(states))])
    back = np.zeros((len(said_LV), len(states)), np.int64)
    for place in range(1, len(said_LV)):
        before = np.stack([score, np.r_[-np.inf, score[:-1]], np.where(skips, np.r_[-np.inf, -np.inf, score[:-2]][: len(states)], -np.inf)])
        back[place] = before.argmax(0)
        score = before.max(0) + said_LV[place, states]
    at = len(states) - 1 if len(states) == 1 or score[-1] >= score[-2] else len(states) - 2
    path = [at]
    for place in range(len(said_LV) - 1, 0, -1):
        at -= int(back[place, at])
        path.append(at)
    return [states[at] for at in reversed(path)]
