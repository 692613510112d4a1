"""Grammar: what a text must be, in the language of llguidance, which tells token by token what may come next. No torch here: recipes are checked
without it.

A word is matched in small and in capital letters. One that begins with a letter of a script with spaces begins where no letter or digit stands before
it; in Chinese, Japanese, Thai and their like it may begin anywhere.
"""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from omnitune.errors import Mistake

SPACES = r"[ \n\r\t]{1,40}"
"""White space between parts of JSON: a model that writes nothing else comes to an end of it."""
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
LIMITS = {"initial_lexer_fuel": 50_000_000, "step_lexer_fuel": 10_000_000, "verbose_errors": False}
"""Work that llguidance may do before the first token and at each: a second at most."""
PLAIN = '%llguidance { "no_forcing": true }\n'
"""Tokens are the model's own: where only one text may follow, any way to spell it may."""


def library() -> Any:
    """llguidance. Raises `Mistake` where it is not installed."""
    try:
        import llguidance
    except ImportError:
        wrong = "choices, regular expressions, JSON schemas and words are held to by llguidance, which is not installed"
        raise Mistake("control", wrong, "pip install 'omnitune[control]'") from None
    return llguidance


def regular(form: str | None, forbid: Sequence[str], require: Sequence[str]) -> str:
    """A text of this form, behind at most one space, without and with some words.

    Args:
        form: a regular expression that the whole text matches; None for any text.
        forbid: no word begins with one of these, words or phrases.
        require: words or phrases that are there, whole.
    """
    parts = ["/(?s:.*)/" if form is None else f"/ ?(?:{_slashed(form)})/"]
    parts += [f"~/{'|'.join(holding(word, whole=False) for word in forbid)}/"] if forbid else []
    parts += [f"/{holding(word, whole=True)}/" for word in require]
    return f"{PLAIN}start: TEXT\nTEXT: {' & '.join(parts)}\n"


def of_schema(schema: dict[str, Any]) -> str:
    """JSON of a schema, behind at most one space."""
    options = {"whitespace_pattern": SPACES} | schema.get("x-guidance", {})
    return f"{PLAIN}start: / ?/ json\njson: %json {json.dumps(schema | {'x-guidance': options})}\n"


def one_of(choices: Sequence[str]) -> str:
    """The regular expression of some texts."""
    return "|".join(map(spelled, choices))


def holding(phrase: str, whole: bool) -> str:
    """The regular expression, of Python and of Rust, of texts that hold a phrase; where not `whole`, also as the beginning of longer words."""
    inside = r"\s+".join(map(spelled, phrase.split()))
    before = r"(?:.*\W)?" if _spaced(phrase[0]) else ".*"
    after = r"(?:\W.*)?" if whole and _spaced(phrase[-1]) else ".*"
    return f"(?s:{before}(?i:{inside}){after})"


def spelled(text: str) -> str:
    """A text as the regular expression that matches nothing else."""
    return "".join(sign if sign.isalnum() or not sign.isascii() else f"\\x{ord(sign):02x}" for sign in text)


def matcher(signs: Any, grammar: str) -> Any:
    """What follows one text along a grammar that has no `problem`, by the tokens of `omnitune.nn.signs`."""
    return library().LLMatcher(signs, grammar, log_level=0, limits=library().LLParserLimits(**LIMITS))


def problem(grammar: str) -> str | None:
    """What is wrong with a grammar, in a line; None where there are texts that it takes."""
    wrong: str = library().LLMatcher.validate_grammar(grammar, limits=library().LLParserLimits(**LIMITS))
    if wrong and not wrong.startswith("WARNING"):
        first = [line.strip() for line in wrong.splitlines()]
        return next((line for line in first if line.startswith("error: ")), first[0].partition("): ")[2] or first[0]).removeprefix("error: ")
    tried = matcher(library().LLTokenizer("byte"), grammar)
    tried.compute_bitmask()  # of a grammar without any text an error
    return "no text is like that" if tried.is_error() else None


def _spaced(sign: str) -> bool:
    """Whether this is a letter or digit of a script that parts words by spaces."""
    return sign.isalnum() and not unicodedata.name(sign, "").startswith(UNSPACED)


def _slashed(form: str) -> str:
    """A regular expression as it stands between slashes."""
    found, escaped = list[str](), False
    for sign in form:
        found.append({"/": "\\/", "\n": "\\n", "\r": "\\r"}.get(sign, sign) if not escaped else sign)
        escaped = sign == "\\" and not escaped
    return "".join(found)
