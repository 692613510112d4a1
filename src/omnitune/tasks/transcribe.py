"""transcribe: what is said in a sound?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn import edits
from omnitune.nn import values as cells
from omnitune.nn.text_metrics import Judge
from omnitune.tasks import Facts, SelfSupervised, Target

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.scribe import Scribe
    from omnitune.nn.tokens import Batch

UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")
"""Languages of Whisper whose words no space parts, so that none leads a transcript."""
BLANK, SPACE = "", " "
"""What stands first among learned letters; what parts words."""
NO_ANSWER, LONG, CROWDED, SILENT, STRANGE = 1, 2, 3, 4, 5


@component
class Transcribe(SelfSupervised):
    """Speech to text, by the backbone that hears the input: with the decoder of its checkpoint (Whisper: Radford et al. 2022,
    https://arxiv.org/abs/2212.04356), or letter by letter from its tokens (CTC: Graves et al. 2006). Every word of a transcript is asked for, and its
    end. What is longer than is read teaches nothing, since its transcript says more than was heard; predictions hear it in windows.

    Args:
        of: the sound input.
        target: the column of the transcripts.
        by: `decoder`, `letters`, or `auto`: the decoder where the checkpoint has one.
        language: that is spoken, as the checkpoint names it (`en`, `fr`); for one that knows several.
        letters: `learned` from the training rows, those of the `checkpoint` with its layer, or `auto`: the checkpoint's where it has any.
        capitals: whether learned letters tell capitals from small ones.
        timestamps: whether predictions tell when what was said: stretches by a decoder, words by letters.
        overlap: seconds that two windows of a long sound share.
        samples: test rows whose transcripts are written before and after training; 0 for none.
        written: validation rows that are written in every round, so that `wer` and `cer` are watched and may stop it; 0 for none.
    """

    asks: ClassVar[Literal["speech"]] = "speech"
    reasons: ClassVar[Mapping[int, str]] = {
        NO_ANSWER: "have no transcript, or no sound; they teach and measure nothing here.",
        LONG: "are longer than is read, so their transcripts say more than is heard; they teach and measure nothing. Raise max_seconds, or cut them.",
        CROWDED: "have a transcript that is longer than their sound can say: more letters than tokens are heard, or more than the decoder writes; "
        "they teach and measure nothing.",
        SILENT: "are silence and have a transcript; they teach and measure nothing.",
        STRANGE: "have a transcript with letters that no training row has; these are never written, and left out of what is asked.",
    }

    target: str = Field(min_length=1)
    by: Literal["auto", "decoder", "letters"] = "auto"
    language: str | None = None
    letters: Literal["auto", "learned", "checkpoint"] = "auto"
    capitals: bool = False
    timestamps: bool = False
    overlap: Annotated[float, Field(ge=0, le=15)] = 4.0
    samples: Annotated[int, Field(ge=0)] = 100
    written: Annotated[int, Field(ge=0)] = 0

    @property
    def live(self) -> int:
        """See `Task.live`."""
        return self.written

    @property
    def writes(self) -> bool:
        """See `Task.writes`."""
        return True

    def judge(self) -> Judge:
        """Errors of words and letters."""
        return Judge(edits.counts, edits.speech_metrics)

    def columns(self) -> tuple[str, ...]:
        """The target."""
        return (self.target,)

    def check(self, value: Any) -> str | None:
        """Lists, bytes and infinite numbers are no text, and an empty text is no transcript."""
        return cells.problem(value) or ("a transcript of nothing but white space" if isinstance(value, str) and not value.strip() else None)

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """`seen`: the letters of all transcripts. Raises `Mistake` where there is none."""
        seen: set[str] = set()
        for value in columns[self.target]:
            seen.update("" if cells.missing(value) else self._read(cells.text(value)))
        if not seen:
            raise Mistake(f"column {self.target}", "no training row has a transcript", "Fill the column")
        return {"seen": sorted(seen)}

    def learn_from(self, facts: Facts) -> Facts:
        """Of a decoder what `_speech.written` tells, its `start` being all tokens before a transcript, and `timed` where times are asked for; else
        the `letters` in the order of their numbers, those of the `blank`, the `space` and the `unknown` one, whether they were `trained`, and the
        `steps` that make tokens.

        Raises:
            Mistake: the backbone has nothing that writes this way, or does not know the language.
        """
        by = ("decoder" if facts["written"] else "letters") if self.by == "auto" else self.by
        if by == "decoder":
            return self._decoder(facts)
        if facts["steps"] is None:
            wrong = f"the tokens of the backbone of {self.of!r} are no stretches of time, which letters are read from"
            raise Mistake("transcribe", wrong, "Choose Whisper, wav2vec 2.0, or kind: spectrogram")
        if self.language is not None:
            raise Mistake("transcribe.language", "letters are of whatever language the transcripts are", "Leave it out")
        return self._letters(facts) | {"steps": [list(step) for step in facts["steps"]]}

    def _decoder(self, facts: Facts) -> Facts:
        if (told := facts["written"]) is None:
            wrong = f"the backbone of {self.of!r} has no decoder, or its files hold none"
            raise Mistake("transcribe", wrong, "Choose a Whisper that was saved whole, or by: letters")
        if "wrong" in told:
            raise Mistake(
                "transcribe", f"of the backbone of {self.of!r} {told['wrong']}", "Choose a checkpoint that was saved with it, or by: letters"
            )
        if not facts["chosen"]:
            wrong = "its decoder was trained on 30 seconds, and repeats itself behind a clip alone"
            fix = f"Set inputs.{self.of}.full_length: true, or a silence (about 20 seconds do as well; fewer want training)"
            raise Mistake("transcribe", wrong, fix)
        several = told["languages"]
        if several and self.language not in several:
            raise Mistake(
                "transcribe.language", f"{self.language!r} is no language of the checkpoint", did_you_mean(str(self.language), sorted(several))
            )
        if not several and self.language not in (None, "en"):
            raise Mistake("transcribe.language", "the checkpoint knows English alone", "Leave it out, or choose one of several languages")
        timed = [told["start"], *([several[self.language], told["transcribe"]] if several else [])]
        rest = {name: told[name] for name in ("end", "padding", "first_time", "never", "not_first", "most")}
        return {"timed": timed, "start": [*timed, told["untimed"]]} | rest

    def _letters(self, facts: Facts) -> Facts:
        own: Facts | None = facts["letters"]
        if own is None and self.letters == "checkpoint":
            raise Mistake("transcribe.letters", f"the backbone of {self.of!r} comes without a layer of letters", "Set letters: learned")
        own = None if self.letters == "learned" else own
        if own is None:
            learned = [BLANK, *facts["seen"]]
            return {"letters": learned, "blank": 0, "space": learned.index(SPACE) if SPACE in learned else None, "unknown": None, "trained": False}
        return {**own, "trained": True}

    def _read(self, text: str) -> str:
        """A transcript with single spaces, as it is learned."""
        text = " ".join(cells.sound(text).split())
        return text if self.capitals else text.lower()

    def lead(self, facts: Facts) -> str | None:
        """See `Task.lead`."""
        return None if "letters" in facts else "" if self.language in UNSPACED else " "

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """The batch itself; `labels` (B, T): the tokens or letters of a transcript, -1 behind them; `y` (B, 2): their number and their UTF-8 bytes;
        `weight` (B,): the number, 0 where nothing is asked; `why` (B,): see `reasons`, 0 for none."""
        import torch

        from omnitune.nn.language import NOT_ASKED

        answers = [self._spelled(value, facts) for value in columns[self.target]]
        why = [self._why(answer, row, batch.inputs[self.of], facts) for row, answer in enumerate(answers)]
        asked = [answer[0] if answer and code in (0, STRANGE) else [] for answer, code in zip(answers, why, strict=True)]
        longest = max(1, *map(len, asked)) if asked else 1
        labels_BT = torch.tensor([ids + [NOT_ASKED] * (longest - len(ids)) for ids in asked], dtype=torch.int64).reshape(-1, longest)
        bytes_B = [answer[1] if ids and answer else 0 for ids, answer in zip(asked, answers, strict=True)]
        y_B2 = torch.tensor([[len(ids), size] for ids, size in zip(asked, bytes_B, strict=True)], dtype=torch.int64).reshape(-1, 2)
        return batch, {"labels": labels_BT, "y": y_B2, "weight": y_B2[:, 0].float(), "why": torch.tensor(why, dtype=torch.int64)}

    def _spelled(self, value: Any, facts: Facts) -> tuple[list[int], int, bool] | None:
        """The numbers of a transcript, its bytes, and whether letters of it are not known; None where there is none."""
        if value is None or (not isinstance(value, tuple) and cells.missing(value)):
            return None
        if "letters" not in facts:
            ids, size = value
            return [*ids, facts["end"]], size, False
        numbers = {letter: number for number, letter in enumerate(facts["letters"]) if number != facts["blank"]}
        if facts["space"] is not None:
            numbers[SPACE] = facts["space"]
        text = self._cased(self._read(cells.text(value)), numbers) if facts["trained"] else self._read(cells.text(value))
        found = [numbers.get(letter, facts["unknown"]) for letter in text]
        return [number for number in found if number is not None], len(text.encode()), any(letter not in numbers for letter in text)

    def _cased(self, text: str, numbers: Mapping[str, int]) -> str:
        """In the capitals of a checkpoint that has no small letters."""
        return text.upper() if not any(letter.islower() for letter in numbers if len(letter) == 1) else text

    def _why(self, answer: tuple[list[int], int, bool] | None, row: int, inputs: Mapping[str, Any], facts: Facts) -> int:
        """Why nothing is asked of a row, or 0; see `reasons`."""
        import torch

        from omnitune.nn.ctc import frames

        if answer is None or not bool(inputs["present"][row]) or not answer[0]:
            return NO_ANSWER if answer is None or answer[0] or not answer[2] else STRANGE
        if bool(inputs["cut"][row]):
            return LONG
        ids, length = answer[0], inputs["length"][row]
        if "letters" in facts:
            repeated = sum(a == b for a, b in pairwise(ids))  # a blank must part them
            crowded = len(ids) + repeated > int(frames(length, facts["steps"]))
        else:
            crowded = len(ids) + len(facts["start"]) > facts["most"]
        heard = inputs["sound"][row, : int(length)]
        silent = bool(torch.equal(heard.amin(), heard.amax()))
        return CROWDED if crowded else SILENT if silent else STRANGE if answer[2] else 0

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `DenoiseHead` with the decoder of the backbone, or a `CTCHead`."""
        from omnitune.nn.ctc import CTCHead
        from omnitune.nn.denoise import DenoiseHead

        if "letters" in facts:
            return CTCHead(self.of, backbones[self.of], len(facts["letters"]), facts["blank"], facts["trained"])
        return DenoiseHead(self.of, backbones[self.of], facts["start"], facts["padding"])

    def scribe(self, facts: Facts, head: Any, encoder: Encoder, backbone: Any) -> Scribe:
        """What writes down the tokens that `encoder` makes of a sound; `backbone` is its own."""
        if "letters" in facts:
            from omnitune.nn.letters import Letters

            return Letters(head, facts, self.timestamps)
        from omnitune.nn.dictation import Dictation

        return Dictation(encoder, backbone.tokenizer(), facts, self.timestamps, self.language not in UNSPACED)

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Bits per byte, which compares models of any vocabulary; perplexity and accuracy of a token or letter, which do not."""
        from omnitune.nn.metrics import token_metrics

        return token_metrics()

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Transcripts of nothing in particular."""
        return {self.target: [f"{number} is said" for number in rng.integers(10, size=n).tolist()]}
