"""The content of the last `\\boxed{...}` of a response, joined with the boxes right beside it.

Boxes are looked for from the end of the text and read forward under fixed limits, so that a response costs
a few microseconds and the worst text of a megabyte some 20 ms.
"""

import re
from collections.abc import Iterator

# A longer box holds no final answer: one that was never closed has taken in the rest of the response.
_MAX_CONTENT = 8000
# Broken and empty boxes that are passed over, from the last one backwards.
_ATTEMPTS = 16
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_COMMAND = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s{0,16}")
_UNBRACED = re.compile(r"[^\s${}\\]{1,300}")

# Rows of boxes: how many, and how many characters between two of them.
_MAX_BOXES = 32
_MAX_GAP = 80
_NAME = re.compile(r"(?:^|(?<=[\s${(\[,;]))([A-Za-z](?:_\{?[A-Za-z0-9]\}?)?)\s{0,4}=\s{0,4}$")
_SPACING = re.compile(r"\\(?:q?quad|text|mathrm|textbf|textit|[()\[\],;: ])|[\s$&{}*~]")
_SEPARATOR = re.compile(r"[,;]|and|or")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")


def last_box(text: str, truncated: bool = False) -> str | None:
    """Content of the complete, non-empty box that opens last, or of the row of boxes that ends with it.

    `\\boxed{1}, \\boxed{2}` and `\\boxed{1} and \\boxed{2}` are the list `1, 2`; other text between two boxes
    makes the last one the answer. `\\boxed 7` is a box too, but not at the very end of a truncated response,
    where its last digits may be missing.
    """
    starts = _commands(text)
    for _, start in zip(range(_ATTEMPTS), starts, strict=False):
        found = _content(text, start)
        if found is not None and not (truncated and found[1] == len(text) and text[-1] != "}"):
            return _row(text, start, found[0], starts)
    return None


def _commands(text: str) -> Iterator[int]:
    """Where box commands begin, from the last to the first."""
    boxed, fbox = text.rfind(r"\boxed"), text.rfind(r"\fbox")
    while boxed >= 0 or fbox >= 0:
        if boxed > fbox:
            yield boxed
            boxed = text.rfind(r"\boxed", 0, boxed)
        else:
            yield fbox
            fbox = text.rfind(r"\fbox", 0, fbox)


def _content(text: str, start: int) -> tuple[str, int] | None:
    """Content and end of the box at `start`; None for one that is empty or never closed."""
    command = _COMMAND.match(text, start)
    if command is None:
        return None
    at = command.end()
    if text.startswith("{", at):
        close = _closing(text, at + 1)
        content = text[at + 1 : close].strip() if close > 0 else ""
        return (content, close + 1) if content else None
    bare = _UNBRACED.match(text, at)
    content = bare[0].rstrip(".,;:") if bare else ""
    return (content, bare.end()) if bare and content else None


def _closing(text: str, at: int) -> int:
    """The brace that closes the group whose content begins at `at`, or -1."""
    close = text.find("}", at, at + _MAX_CONTENT)
    if close < 0 or (text.find("{", at, close) < 0 and text.find("\\", at, close) < 0):
        return close
    depth = 1
    for token in _BRACE.finditer(text, at, at + _MAX_CONTENT):
        mark = token[0]
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if not depth:
                return token.start()
    return -1


def _row(text: str, start: int, content: str, starts: Iterator[int]) -> str:
    """The list of the boxes right before the one at `start` and itself, with their names when all have one."""
    if "}" not in text[max(0, start - _MAX_GAP) : start]:
        return content
    contents, names = [content], [_name(text, start)]
    for previous in starts:
        found = _content(text, previous)
        if found is None or not found[1] <= start <= found[1] + _MAX_GAP or not _separates(text[found[1] : start]):
            break
        if len(contents) == _MAX_BOXES:
            return content
        start = previous
        contents.append(found[0])
        names.append(_name(text, start))
    if len(contents) == 1:
        return content
    if all(names):
        contents = [f"{name} = {value}" for name, value in zip(names, contents, strict=True)]
    return ", ".join(dict.fromkeys(reversed(contents)))


def _name(text: str, start: int) -> str:
    """The `x` of `x = \\boxed{5}`, or nothing."""
    name = _NAME.search(text[max(0, start - 24) : start])
    return name[1] if name else ""


def _separates(gap: str) -> bool:
    """Whether a gap holds only separators and the name of the next value; a blank line alone parts two answers."""
    name = _NAME.search(gap)
    rest = gap[: name.start()] if name else gap
    words = _SPACING.sub(" ", rest).replace(",", " , ").replace(";", " ; ").split()
    if not words:
        return not _BLANK_LINE.search(rest)
    # `\boxed{3} red and \boxed{4} blue`: one word may name what the first box counts.
    if len(words) > 1 and words[0].isalpha() and words[-1] in ("and", "or"):
        words = words[1:]
    return all(_SEPARATOR.fullmatch(word) for word in words)
