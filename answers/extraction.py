"""Find the final answer in a response.

Every rule is one pass over the text with bounded patterns, so the time is linear in the response whatever
is in it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DEFAULT_RULES: tuple[str, ...] = ("boxed",)

# Longer than any final answer: what an anchor introduces beyond this is prose.
_MAX_ANCHORED = 300
# Two backslashes as well: responses that went through JSON twice carry `\\boxed`.
_BOX_TOKEN = re.compile(r"\\{1,2}(?:boxed|fbox)(?![A-Za-z])|\\.|[{}]", re.DOTALL)
_BOX_GAP = re.compile(r"\s{0,16}")
_UNBRACED = re.compile(r"[^\s${}\\]{1,300}")
_ANSWER_IS = re.compile(r"\banswer\s{1,4}is\b", re.IGNORECASE)
_ANSWER_LINE = re.compile(r"^[*_#> \t]{0,8}answer[*_]{0,4}[ \t]{0,4}:", re.IGNORECASE | re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_LETTER = r"[\s:*_$(\\]{0,8}(?:text\{\(?)?([A-J])(?![A-Za-z0-9'])"
_CHOICE = re.compile(rf"\b(?i:answer|option|choice)(?:\s{{1,4}}(?i:is)\b|\s{{0,4}}[*_]{{0,4}}:){_LETTER}")
_CHOICE_LINE = re.compile(r"[*_$ \t]{0,8}(?:\\text\{)?(?:\(([A-J])\)|([A-J])(?:[).:]|[*_$} \t]{0,8}$))")
# `the answer is A lot of` is an article, `the answer is A because` a choice.
_ARTICLE = re.compile(r"\s{1,4}(?!because\b|since\b|as\b|and\b|but\b)[a-z]")
_EDGES = " \t\r\n*_:"


@dataclass(frozen=True)
class Extraction:
    """An answer as the model wrote it, and the name of the rule that found it."""

    answer: str
    how: str


def _last_box(text: str, truncated: bool) -> str | None:
    """Content of the complete, non-empty box that opens last.

    One scan with a stack of open braces: an unclosed box costs nothing and the box before it counts.
    """
    found: tuple[int, str] | None = None
    open_braces: list[int] = []
    box_contents: set[int] = set()
    for token in _BOX_TOKEN.finditer(text):
        mark = token[0]
        if mark == "{":
            open_braces.append(token.end())
        elif mark == "}":
            start = open_braces.pop() if open_braces else -1
            if start in box_contents and (found is None or start > found[0]):
                content = text[start : token.start()].strip()
                found = (start, content) if content else found
        elif len(mark) > 2:
            gap = _BOX_GAP.match(text, token.end())
            at = gap.end() if gap else token.end()
            if text.startswith("{", at):
                box_contents.add(at + 1)
            elif (bare := _UNBRACED.match(text, at)) and not (truncated and bare.end() == len(text)):
                # `\boxed 7`; cut off by the token limit, its last digits may be missing.
                content = bare[0].rstrip(".,;:")
                found = (at, content) if content else found
    return found[1] if found else None


def _anchored(text: str, start: int) -> str | None:
    """The rest of the line or sentence behind an anchor; of the next line when that is empty."""
    tail = text[start : start + _MAX_ANCHORED].lstrip(_EDGES)
    while tail.startswith(("\\[", "\\(", "$$")):
        tail = tail[2:].lstrip(_EDGES)
    line = tail.split("\n", 1)[0]
    box = _last_box(line, truncated=False)
    if box is not None:
        return box
    line = _SENTENCE_END.split(line, maxsplit=1)[0].strip(_EDGES).rstrip(",;")
    for closer in ("\\]", "\\)", "$$"):
        line = line.removesuffix(closer).rstrip()
    # Both dollars of `$5$` go; the one of `$5` is currency and is left to the canonical form.
    if len(line) > 1 and line[0] == line[-1] == "$":
        line = line[1:-1].strip()
    return line or None


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


_ANCHORS: dict[str, Callable[[str], str | None]] = {
    "answer_is": _answer_is,
    "answer_line": _answer_line,
    "hash": _hash,
    "choice": _choice,
}


def find(text: str, *, truncated: bool = False, rules: Sequence[str] = DEFAULT_RULES) -> Extraction | None:
    """The final answer of one response with the rule that found it, or None.

    Only the text after the last `</think>` counts; a `<think>` that stays open means that the model never
    came to an answer. With `truncated` (the token limit ended the response) only a complete box counts. The
    rules are tried
    in the order given:

    - `boxed`: the last complete `\\boxed{...}`, `\\fbox{...}` or `\\boxed 7`; empty boxes are passed over.
    - `answer_is`: what follows the last "answer is", to the end of the sentence (GSM8K, Minerva, TheoremQA).
    - `answer_line`: the last line that begins with `Answer:` (the prompt of DAPO-Math-17k).
    - `hash`: the rest of the line after the last `####` (GSM8K's own solutions).
    - `choice`: a letter A to J after "answer is" or "Answer:", or at the start of the last line.

    Raises ValueError for an unknown rule name; nothing in the text raises.
    """
    unknown = [name for name in rules if name != "boxed" and name not in _ANCHORS]
    if unknown:
        raise ValueError(f"unknown extraction rule {unknown[0]!r}; known rules: boxed, {', '.join(_ANCHORS)}")
    thought = text.rfind("</think>")
    if text.rfind("<think>") > thought:
        return None
    tail = text[thought + len("</think>") :] if thought >= 0 else text
    for name in rules:
        if truncated and name != "boxed":
            continue
        answer = _last_box(tail, truncated) if name == "boxed" else _ANCHORS[name](tail)
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
