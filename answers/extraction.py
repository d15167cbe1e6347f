"""Find the final answer in a response.

Every rule is one pass over the text with bounded patterns, so the time is linear in the response whatever
is in it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .boxes import last_box

DEFAULT_RULES: tuple[str, ...] = ("boxed",)

# Longer than any final answer: what an anchor introduces beyond this is prose.
_MAX_ANCHORED = 300
# `answer is`, `Answer: 5` inside a line, and `Answer $5$`.
_ANSWER_IS = re.compile(
    r"\banswers?(?:\s{1,4}(?:is|are|would\sbe|will\sbe)\b|[*_\s]{0,6}[:=]|(?=\s{0,4}(?:\$|\\\(|\\\[)))", re.IGNORECASE
)
# `Final Answer: The largest n is 34`: what a sentence that begins with a word says after its last `is`.
_SENTENCE = re.compile(r"[A-Za-z]{2,}\s")
_VALUE = re.compile(r"\s(?:is|are|equals)\s+(?=[-+$\\(0-9*])")
_ANSWER_LINE = re.compile(r"^[*_#> \t]{0,8}answer[*_]{0,4}[ \t]{0,4}:", re.IGNORECASE | re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
# No letter of a formula such as `the answer is A = 5` or `B^2`.
_LETTER = r"[\s:*_$(\\]{0,8}(?:text\{\(?)?([A-J])(?![A-Za-z0-9'_^]|\s{0,4}[=+*/<>-])"
_HEDGE = r"(?:\s{1,4}(?i:for\ssure|definitely|clearly|most\slikely|probably|indeed|therefore|option|choice)\b)?"
_CHOICE = re.compile(
    rf"\b(?:(?i:answer|option|choice)(?:\s{{1,4}}(?i:is)\b|\s{{0,4}}[*_]{{0,4}}:){_HEDGE}"
    rf"|(?i:finali[sz]e|choose|pick|select|go\swith)\b){_LETTER}"
)
_CHOICE_LINE = re.compile(r"[*_$ \t]{0,8}(?:\\text\{)?(?:\(([A-J])\)|([A-J])(?:[).:]|[*_$} \t]{0,8}$))")
# `the answer is A lot of` is an article, `the answer is A because` a choice.
_ARTICLE = re.compile(r"\s{1,4}(?!because\b|since\b|as\b|and\b|but\b)[a-z]")
_EDGES = " \t\r\n*_:"
_MATHS_MARK = re.compile(r"\$\$|\$|\\[()\[\]]|\\\\|\\\$")
_MATHS_CLOSER = {"$$": "$$", "$": "$", r"\(": r"\)", r"\[": r"\]"}
# An anchor further from the end belongs to no final answer; the limit holds every rule to a few milliseconds.
_MAX_TAIL = 100_000
# The unmarked rules look at the end of a response only; a last number lies there, or it is none.
_MAX_LAST = 4000
_NUMBER = re.compile(
    r"(?:(?<![A-Za-z0-9_.)\]}-])-)?(?<![A-Za-z0-9_.])[0-9]{1,40}(?:,[0-9]{3}(?![0-9]))*(?:\.[0-9]{1,40})?"
    r"(?:/[0-9]{1,40}(?!\.?[0-9]))?"
)
_MAX_WHOLE = 120
_MAX_WHOLE_WORDS = 3
_PLAIN_WORD = re.compile(r"(?<![\\A-Za-z])(?![A-Za-z]?matrix\b)[A-Za-z]{2,}")
_MATHS_START = re.compile(r"[-+$\\(\[{.0-9|]|[A-Za-z](?![^\W\d_])|[A-Za-z]{1,8}\(")


@dataclass(frozen=True)
class Extraction:
    """An answer as the model wrote it, and the name of the rule that found it."""

    answer: str
    how: str


def _anchored(text: str, start: int) -> str | None:
    """The rest of the line or sentence behind an anchor; of the next line when that is empty."""
    tail = text[start : start + _MAX_ANCHORED].lstrip(_EDGES)
    while tail.startswith(("\\[", "\\(", "$$")):
        tail = tail[2:].lstrip(_EDGES)
    line = tail.split("\n", 1)[0]
    box = last_box(line)
    if box is not None:
        return box
    line = _SENTENCE_END.split(line, maxsplit=1)[0].strip(_EDGES).rstrip(",;")
    for closer in ("\\]", "\\)", "$$"):
        line = line.removesuffix(closer).rstrip()
    if _SENTENCE.match(line):
        line = _VALUE.split(line)[-1]
    # Both dollars of `$5$` go; the one of `$5` is currency and is left to the canonical form.
    if len(line) > 1 and line[0] == line[-1] == "$":
        line = line[1:-1].strip()
    return line if line.strip("$") else None


def _last_start(pattern: re.Pattern[str], text: str) -> int | None:
    end = None
    for match in pattern.finditer(text):
        end = match.end()
    return end


def _answer_is(text: str) -> str | None:
    start = _last_start(_ANSWER_IS, text)
    return None if start is None else _anchored(text, start)


def _answer_line(text: str) -> str | None:
    start = _last_start(_ANSWER_LINE, text)
    if start is None:
        return None
    line = text[start:].split("\n", 1)[0].strip(_EDGES + "$").rstrip(".,;")
    return line or None


def _hash(text: str) -> str | None:
    at = text.rfind("####")
    if at < 0:
        return None
    line = text[at + 4 :].split("\n", 1)[0].strip(_EDGES).rstrip(".,;")
    return line or None


def _choice(text: str) -> str | None:
    letter = None
    for match in _CHOICE.finditer(text):
        if match[1] != "A" or not _ARTICLE.match(text, match.end()):
            letter = match[1]
    if letter is not None:
        return letter
    last_line = text.rstrip().rsplit("\n", 1)[-1].strip()
    match = _CHOICE_LINE.match(last_line)
    return (match[1] or match[2]) if match else None


def _is_prose(between: str) -> bool:
    """Whether two dollars are money, or end one formula and begin the next: text, a line break between them."""
    words = len(_PLAIN_WORD.findall(between))
    return "\n" in between or between[:1] in "?!.,;:" or words > _MAX_WHOLE_WORDS


def _last_formula(text: str) -> str | None:
    """The last `$...$`, `$$...$$`, `\\(...\\)` or `\\[...\\]`; a dollar with prose behind it is money."""
    text = text[-_MAX_LAST:]
    found, opener, start = None, "", 0
    for mark in _MATHS_MARK.finditer(text):
        if opener and mark[0] == _MATHS_CLOSER[opener]:
            content = text[start : mark.start()].strip()
            if opener == "$" and _is_prose(text[start : mark.start()]):
                start = mark.end()
                continue
            found, opener = content or found, ""
        elif mark[0] in _MATHS_CLOSER and not (opener and mark[0] == "$"):
            opener, start = mark[0], mark.end()
    return found if found and len(found) <= _MAX_ANCHORED else None


def _last_number(text: str) -> str | None:
    number = None
    for match in _NUMBER.finditer(text[-_MAX_LAST:]):
        number = match[0]
    return number


def _whole(text: str) -> str | None:
    """The text itself when it is one short line of maths or a few words."""
    line = text.strip()
    if not line or len(line) > _MAX_WHOLE or "\n" in line:
        return None
    few = len(_PLAIN_WORD.findall(line)) <= _MAX_WHOLE_WORDS
    return line if few and (_MATHS_START.match(line) or line.replace(" ", "").isalpha()) else None


_ANCHORS: dict[str, Callable[[str], str | None]] = {
    "answer_is": _answer_is,
    "answer_line": _answer_line,
    "hash": _hash,
    "choice": _choice,
    "whole": _whole,
    "last_formula": _last_formula,
    "last_number": _last_number,
}
# Every rule, the surest first: what marks an answer, then what merely stands last.
ALL_RULES: tuple[str, ...] = ("boxed", "answer_line", "hash", "choice", "answer_is", *list(_ANCHORS)[4:])


def find(text: str, *, truncated: bool = False, rules: Sequence[str] = DEFAULT_RULES) -> Extraction | None:
    """The final answer of one response with the rule that found it, or None.

    Only the text after the last `</think>` counts; a `<think>` that stays open means that the model never
    came to an answer. With `truncated` (the token limit ended the response) only a complete box counts. The
    rules are tried in the order given:

    - `boxed`: the last complete `\\boxed{...}`, `\\fbox{...}` or `\\boxed 7`; empty boxes are passed over, and
      boxes side by side are one list.
    - `answer_is`: what follows the last "answer is" or "answer:", to the end of the sentence (GSM8K, Minerva,
      TheoremQA); of "Answer: the largest n is 34" what follows the last "is".
    - `answer_line`: the last line that begins with `Answer:` (the prompt of DAPO-Math-17k).
    - `hash`: the rest of the line after the last `####` (GSM8K's own solutions).
    - `choice`: a letter A to J after "answer is" or "Answer:", or at the start of the last line.
    - `whole`: the text itself when it is one short line of maths or a few words.
    - `last_formula`, `last_number`: the last formula, the last number. They find an answer in nearly any
      text, a wrong one where none was given, so they never are a default.

    Raises ValueError for an unknown rule name; nothing in the text raises.
    """
    unknown = [name for name in rules if name != "boxed" and name not in _ANCHORS]
    if unknown:
        raise ValueError(f"unknown extraction rule {unknown[0]!r}; known rules: boxed, {', '.join(_ANCHORS)}")
    tail = text
    # One forward search settles nearly all responses; searches from the end are several times slower.
    if "think>" in text:
        thought = text.rfind("</think>")
        if text.rfind("<think>") > thought:
            return None
        tail = text[thought + len("</think>") :] if thought >= 0 else text
    for name in rules:
        if truncated and name != "boxed":
            continue
        answer = last_box(tail, truncated) if name == "boxed" else _ANCHORS[name](tail[-_MAX_TAIL:])
        if answer is not None:
            return Extraction(answer, name)
    return None


def gold_answer(text: str) -> str:
    """The answer in a gold text: what its box holds where it has one, else the text itself."""
    return extract(text) or text


def extract(text: str, *, truncated: bool = False, rules: Sequence[str] = DEFAULT_RULES) -> str | None:
    """The final answer of one response as the model wrote it, or None; see `find` for the rules."""
    found = find(text, truncated=truncated, rules=rules)
    return None if found is None else found.answer
