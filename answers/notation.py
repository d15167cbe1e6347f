"""From raw answer text to tokens: one spelling for each sign, command and wrapper.

Nothing here decides what an answer means; `canonical` does, on the tokens made here.
"""

import re
import unicodedata

# Real final answers stay under about 300 characters; 400 tokens is more than 1,000 characters of maths need.
MAX_CHARS = 1000
MAX_TOKENS = 400


class UnparsedError(ValueError):
    """The text is outside what the exact forms cover; the caller keeps it as plain text."""


# Longer replacements than one character, which NFKC would get wrong (it reads x squared as "x2").
_CHARACTERS = {
    "\u2212": "-",
    "\u2010": "-",
    "\u2011": "-",
    "\u2012": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u00d7": "*",
    "\u00b7": "*",
    "\u22c5": "*",
    "\u2217": "*",
    "\u2219": "*",
    "\u00f7": "/",
    "\u2044": "/",
    "\u2215": "/",
    "\u2264": "<=",
    "\u2a7d": "<=",
    "\u2265": ">=",
    "\u2a7e": ">=",
    "\u2260": "!=",
    "\u2248": r"\approx ",
    "\u00b1": r"\pm ",
    "\u2213": r"\mp ",
    "\u221a": " sqrt ",
    "\u221e": r"\infty ",
    "\u222a": r"\cup ",
    "\u2208": r"\in ",
    "\u2205": r"\emptyset ",
    "\u2220": r"\angle ",
    "\u25b3": r"\triangle ",
    "\u03c0": r"\pi ",
    "\u03b1": r"\alpha ",
    "\u03b2": r"\beta ",
    "\u03b3": r"\gamma ",
    "\u03b8": r"\theta ",
    "\u03bb": r"\lambda ",
    "\u03bc": r"\mu ",
    "\u03c6": r"\phi ",
    "\u03c9": r"\omega ",
    "\u211d": r"\mathbb{R}",
    "\u2124": r"\mathbb{Z}",
    "\u2115": r"\mathbb{N}",
    "\u211a": r"\mathbb{Q}",
    "\u2102": r"\mathbb{C}",
    "\u00b0": r"\degree ",
    "\u2032": "'",
    "\uff0c": ",",
    "\u3001": ",",
    "\uff1a": ":",
    "\u3002": ".",
    "\u00bc": r"\frac{1}{4}",
    "\u00bd": r"\frac{1}{2}",
    "\u00be": r"\frac{3}{4}",
    "\u2153": r"\frac{1}{3}",
    "\u2154": r"\frac{2}{3}",
    "\u201c": "",
    "\u201d": "",
    '"': "",
    "`": "",
    "\u200b": "",
    "\u2060": "",
    "\ufeff": "",
    "\u20ac": "",
    "\u00a3": "",
    "\u00a5": "",
    "\u20b9": "",
}
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_SUBSCRIPTS = str.maketrans("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789")
_SUPERSCRIPT_RUN = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")
_SUBSCRIPT_RUN = re.compile("[\u2080-\u2089]+")
_TABLE = str.maketrans(_CHARACTERS)

_DEGREES = re.compile(
    r"(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree|\^\s*\{?\s*\\degree\s*\}?)(?:\s*[FC](?![A-Za-z]))?"
)
# `1{,}000`, `1,\!000` and `1\,000` can only mean thousands; a plain comma depends on its surroundings.
_THOUSANDS = re.compile(r"(?<=[0-9])\s*(?:\{\s*,\s*\}|,\s*\\!|\\,)\s*(?=[0-9]{3}(?![0-9]))")
# Responses that went through JSON twice; a row break before a command has three backslashes.
_DOUBLED = re.compile(
    r"(?<!\\)\\\\(?=(?:[dt]?frac|sqrt|left|right|text|mathrm|pi|cdot|times|infty|pm|cup|circ)(?![A-Za-z]))"
)
# `\\quadx_2` is a space that has lost the one behind it.
_QUAD = re.compile(r"\\q?quad(?=[A-Za-z])")
_SPACED_THOUSANDS = re.compile(r"(?:\\?\$)?[-+]?[0-9]{1,3}(?:[ ~\u00a0\u202f][0-9]{3})+(?:\.[0-9]+)?")
_TOKEN = re.compile(
    r"\\[A-Za-z]+|\\.|\\|[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+(?![A-Za-z0-9.]))?|\.[0-9]+"
    r"|[A-Za-z]+|<=|>=|!=|\*\*|[^\s\\]",
    re.DOTALL,
)

_TYPESETTING = r"""
$ % \$ \% \( \) \[ \] \, \! \; \: ~ \left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr
\displaystyle \textstyle \limits \quad \qquad \space \thinspace \enspace \rm \bf \it \textdollar \qed
"""
_DROPPED = frozenset(_TYPESETTING.split()) | {"\\ ", "\\\n"}
# A wrapper goes with its braces, so that \text{cm} reads as cm.
_WRAPPER_NAMES = r"""
\text \textbf \textit \textrm \textnormal \textsf \texttt \emph \mathrm \mathbf \mathit \mathsf \mathtt
\mbox \hbox \operatorname \boxed \fbox \boldsymbol \bm \ensuremath \underline
"""
_WRAPPERS = frozenset(_WRAPPER_NAMES.split())
_SPELLINGS = {
    r"\dfrac": r"\frac",
    r"\tfrac": r"\frac",
    r"\cfrac": r"\frac",
    r"\dbinom": r"\binom",
    r"\tbinom": r"\binom",
    r"\cdot": "*",
    r"\times": "*",
    r"\ast": "*",
    r"\div": "/",
    r"\le": "<=",
    r"\leq": "<=",
    r"\leqslant": "<=",
    r"\ge": ">=",
    r"\geq": ">=",
    r"\geqslant": ">=",
    r"\lt": "<",
    r"\gt": ">",
    r"\ne": "!=",
    r"\neq": "!=",
    r"\colon": ":",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
    r"\lbrack": "[",
    r"\rbrack": "]",
    r"\varnothing": r"\emptyset",
    r"\varphi": r"\phi",
    r"\thickapprox": r"\approx",
    "**": "^",
    "pi": r"\pi",
    "infinity": r"\infty",
    "inf": r"\infty",
    "oo": r"\infty",
}
# These end or begin an answer without being a part of it.
_TRAILING = frozenset({".", ",", ";", ":", "\\", "*", "^"})
_LEADING = frozenset({":", "=", "*", "^", ",", ";"})
_OPENING = frozenset({"(", "[", "{", r"\{"})
_CLOSING = frozenset({")", "]", "}", r"\}"})


def is_number(token: str) -> bool:
    """Whether a token is an unsigned decimal numeral."""
    return token[0] in "0123456789" or (token[0] == "." and len(token) > 1)


def is_word(token: str) -> bool:
    """Whether a token is a run of ASCII letters."""
    return token.isascii() and token.isalpha()


def _plain(text: str) -> str:
    """ASCII spellings for the unicode that answers use; decimal digits of every script become 0-9."""
    if text.isascii():
        return text.replace('"', "").replace("`", "")
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run[0].translate(_SUPERSCRIPTS) + "}", text)
    text = _SUBSCRIPT_RUN.sub(lambda run: "_{" + run[0].translate(_SUBSCRIPTS) + "}", text)
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def _unwrapped(pieces: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Drop wrapper commands with their braces, and everything that only sets type."""
    kept: list[tuple[str, bool]] = []
    wrapper_braces: list[bool] = []
    pending = False
    for token, glued in pieces:
        if token in _WRAPPERS:
            pending = True
            continue
        if token in _DROPPED:
            continue
        if token == "{":
            wrapper_braces.append(pending)
            if not pending:
                kept.append((token, glued))
        elif token == "}" and wrapper_braces:
            if not wrapper_braces.pop():
                kept.append((token, glued))
        else:
            kept.append((_SPELLINGS.get(token, token), glued))
        pending = False
    return kept


def _join_thousands(pieces: list[tuple[str, bool]]) -> list[str]:
    """Read `1,234` as one number outside brackets; inside them, `(1,234)` stays a pair."""
    tokens: list[str] = []
    depth = at = 0
    while at < len(pieces):
        token = pieces[at][0]
        depth += (token in _OPENING) - (token in _CLOSING)
        run = [token]
        if depth <= 0 and token.isdigit():
            while (
                at + 2 * len(run) < len(pieces)
                and pieces[at + 2 * len(run) - 1] == (",", True)
                and pieces[at + 2 * len(run)][1]
                and is_number(pieces[at + 2 * len(run)][0])
            ):
                run.append(pieces[at + 2 * len(run)][0])
        grouped = len(token) <= 3 and token[0] != "0" and all(len(r.split(".")[0]) == 3 for r in run[1:])
        if len(run) > 1 and grouped and all(r.isdigit() for r in run[:-1]):
            tokens.append("".join(run))
        else:
            for number in run[:-1]:
                tokens += [number, ","]
            tokens.append(run[-1])
        at += 2 * len(run) - 1
    return tokens


def tokenize(text: str) -> list[str]:
    """Tokens of an answer of at most `MAX_CHARS` characters. Raises UnparsedError over `MAX_TOKENS`."""
    text = _DOUBLED.sub(r"\\", _plain(text))
    text = _QUAD.sub(" ", _THOUSANDS.sub("", _DEGREES.sub(" ", text)))
    if _SPACED_THOUSANDS.fullmatch(text.strip()):
        text = re.sub(r"[ ~\u00a0\u202f]", "", text)
    pieces: list[tuple[str, bool]] = []
    end = -1
    for match in _TOKEN.finditer(text):
        pieces.append((match[0], match.start() == end))
        end = match.end()
    if len(pieces) > MAX_TOKENS:
        raise UnparsedError("more tokens than the exact forms are built for")
    tokens = _join_thousands(_unwrapped(pieces))
    start, stop = 0, len(tokens)
    while start < stop and tokens[start] in _LEADING:
        start += 1
    while stop > start and tokens[stop - 1] in _TRAILING:
        stop -= 1
    return tokens[start:stop]


def as_text(tokens: list[str]) -> str:
    """Tokens as plain text: one space between two words or numbers, words in lower case.

    Single letters and pairs keep their case, for they are variables and segments; "No" is a word.
    """
    parts: list[str] = []
    spaced = False
    for token in tokens:
        wordlike = token[-1].isalnum()
        if wordlike and spaced and not token.startswith("\\"):
            parts.append(" ")
        lower = is_word(token) and (len(token) > 2 or token.lower() in {"no", "or", "if", "is", "to", "of"})
        parts.append(token.lower() if lower else token)
        spaced = wordlike
    return "".join(parts)


def split(tokens: list[str], separators: frozenset[str]) -> list[list[str]]:
    """Cut at the separators that stand outside every bracket; n separators give n + 1 parts."""
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0 and token in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def enclosed(tokens: list[str]) -> bool:
    """Whether the first token opens a bracket that only the last one closes."""
    if len(tokens) < 2 or tokens[0] not in _OPENING or tokens[-1] not in _CLOSING:
        return False
    depth = 0
    for at, token in enumerate(tokens):
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0:
            return at == len(tokens) - 1
    return False


def at_top(tokens: list[str]) -> list[str]:
    """The tokens outside every bracket."""
    depth = 0
    outside: list[str] = []
    for token in tokens:
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0:
            outside.append(token)
    return outside
