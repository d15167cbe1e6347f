"""The canonical form of an answer, and equality by it.

Conventions, each chosen so that equality stays an equivalence relation:

- Rationals are exact and in lowest terms (`1.50`, `\\frac{3}{2}` and `1\\frac12` are `3/2`); `0.333` is not `1/3`.
- Percent and degree signs, money and known units are dropped: `10\\%` is `10`, never `1/10` (see `units`).
  This follows the gold answers of GSM8K and MATH (Hendrycks et al., 2021), which mostly carry none.
- `(1, 2)` is an ordered pair and the open interval alike; `[1, 2)` and `(1, 2]` stay apart.
- A list without brackets and a set are one unordered thing; a tuple is ordered. `1 \\pm x` is a list of two.
- `x = 5` is `5`; `x = 1, y = 2` is the tuple in order of the names; `x^2 + y^2 = 1` stays an equation.
- Sums of rational multiples of square roots, pi and variables are compared exactly; no floats anywhere.
- One letter from A to H, with or without brackets, is a choice.
- What is not understood is kept as text with one spelling of spaces and signs. It equals only itself.
"""

import re
from fractions import Fraction
from functools import lru_cache

from .algebra import Polynomial, Ring, add, leading, scale, show, sort_key
from .expression import FUNCTIONS, GREEK, Parser
from .notation import (
    MAX_CHARS,
    UnparsedError,
    as_text,
    at_top,
    enclosed,
    is_number,
    is_word,
    split,
    tokenize,
)
from .units import is_unit, without_units

# A prompt has at most a few hundred distinct spellings; a run of 10,000 prompts repeats the short ones most.
_CACHE_SIZE = 1 << 16
_INTEGER = re.compile(r"-?[1-9][0-9]{0,17}|0")
# Nine in ten answers of GSM8K: `1,234.50`, `-$5`, `12\\%`, `18 dollars`, `3/4` and `\\frac{3}{4}`.
_DECIMAL = re.compile(
    r"(-?)(?:\\?\$)?([1-9][0-9]{0,2}(?:,[0-9]{3}){1,4}|[0-9]{1,15})(\.[0-9]{1,15})?(?:\\?%)?(?: ([a-z]{2,15}))?"
)
_FRACTION = re.compile(r"(-?)(?:\\[dt]?frac\{([0-9]{1,15})\}\{([0-9]{1,15})\}|([0-9]{1,15})/([0-9]{1,15}))")
# Marks text whose own canonical form would differ from it, so that a second pass changes nothing.
_TEXT = "text:"
_MAX_DEPTH = 12
# Long texts and texts with a word are never handed to a slower grader: it reads a number out of `10 shoeboxes` and
# `Sally has 9 books`, not the meaning. Of 113 pairs of recorded GSM8K answers that it was asked about, 98 were of this
# kind, at 10 to 40 ms each, and it found none of them equal.
_MAX_ASKED = 120
# Of plain-text roots (`7 + \u221a69`, `2*sqrt(x)`) math-verify 0.9 reads one number. It called 49 labelled pairs of
# real answers with such a root or other unicode equal whose forms differ; not one of them was.
_FOREIGN = re.compile("(?<!\\\\)\\bsqrt|[^\\x00-\\x7f\u2212\u03c0]")
_PLAIN_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z][a-z]{2,}(?![A-Za-z])")
# What LaTeX wrappers, lists and named constants bring along.
_NO_PROSE = FUNCTIONS | {"and", "sqrt", "frac", "text", "pmatrix", "bmatrix", "matrix", "infty", "infinity", "inf"}
_WORDS = re.compile(r"[a-z]+(?: [a-z]+)*")
# Functions, powers of sums, roots of expressions, subscripts and sets of numbers: one value, several forms.
_NOT_UNIQUE = re.compile(r"(?<!sqrt)(?<=[A-Za-z'])\(|sqrt\((?![0-9]+\))|\)\^|_|\\mathbb|\\overline")
_ORDER = re.compile(r"[<>!]")
_AMBIGUOUS = {
    frozenset(pair)
    for pair in (
        ("equation", "expression"),
        ("equation", "set"),
        ("equation", "tuple"),
        ("equation", "inequality"),
        ("inequality", "expression"),
        ("inequality", "set"),
        ("inequality", "tuple"),
    )
} | {frozenset({"inequality"})}

_CHOICES = frozenset("ABCDEFGH")
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
_RELATIONS = frozenset(_FLIPPED)
_NAMING = frozenset({r"\angle", r"\triangle", r"\overline", r"\vec", r"\mathbb"})
_UNKNOWNS = frozenset("xyzt")
_ORDINALS = {"st": "1", "nd": "2", "rd": "3", "th": ""}
_LIST_WORDS = frozenset({";", "or", "and"})


def normalize(answer: str) -> str:
    """The canonical text of one extracted answer.

    Takes the answer as a model wrote it, without its `\\boxed{}`, and returns the one spelling of its class:
    normalize(normalize(a)) == normalize(a). Never raises. Text over 1,000 characters comes back stripped and
    otherwise untouched; below that the work is bounded (400 tokens, nesting 40, 4,096-bit numbers).
    """
    return _canonical(answer.strip())[0]


def settled(a: str, b: str) -> bool | None:
    """Whether two raw answers are one, as far as the canonical forms can tell; None when they cannot.

    True for one form. False when both forms are of kinds that have one spelling for each value and differ, and
    for text with words, long text and plain-text roots, which no slower grader reads better. None when one side was not
    understood, holds a part whose form is not unique (`\\sin`, `2^x`, `1/(x+1)`, numbers in base 8), or when the
    kinds may mean the same thing, such as an inequality and an interval. Symmetric; never raises.
    """
    left, right = _canonical(a.strip()), _canonical(b.strip())
    if left[0] == right[0]:
        return True
    if _is_unreadable(a) or _is_unreadable(b):
        return False
    kinds = {left[1], right[1]}
    if None in kinds or frozenset(kinds) in _AMBIGUOUS:
        return None
    return False


def _is_unreadable(answer: str) -> bool:
    if len(answer) > _MAX_ASKED or _FOREIGN.search(answer):
        return True
    return any(word not in _NO_PROSE for word in _PLAIN_WORD.findall(answer))


def _canonical(stripped: str) -> tuple[str, str | None]:
    return (stripped, None) if len(stripped) > MAX_CHARS else _normalized(stripped)


@lru_cache(maxsize=_CACHE_SIZE)
def _normalized(text: str) -> tuple[str, str | None]:
    """The canonical form and its kind; the kind is None unless different forms mean different answers."""
    if text.startswith(_TEXT):
        return text, None
    # A form is returned only when it is its own form; two passes settle nearly all answers.
    number = _plain_number(text)
    if number is not None:
        return number, "value"
    for _ in range(4):
        if _INTEGER.fullmatch(text):
            return text, "value"
        form, parsed = _form(text)
        if form == text or len(form) > MAX_CHARS:
            return form, _kind(form, parsed)
        text = form
    return (_TEXT + text).strip(), None


def _plain_number(text: str) -> str | None:
    """The form of a plain numeral or fraction without the parser, some ten times faster; None for all else."""
    decimal = _DECIMAL.fullmatch(text)
    if decimal is not None:
        sign, whole, part, unit = decimal.groups()
        if unit is None or is_unit(unit):
            return str(Fraction(sign + whole.replace(",", "") + (part or "")))
    fraction = _FRACTION.fullmatch(text)
    if fraction is not None:
        top, bottom = fraction[2] or fraction[4], fraction[3] or fraction[5]
        return str(Fraction(int(fraction[1] + top), int(bottom))) if int(bottom) else None
    return None


def _kind(form: str, parsed: bool) -> str | None:
    if not parsed:
        return "words" if _WORDS.fullmatch(form) else None
    if _NOT_UNIQUE.search(form):
        return None
    if any(sign in form for sign in "=<>"):
        return "equation" if form.endswith("=0") and not _ORDER.search(form) else "inequality"
    if form.startswith(r"\{"):
        return "set"
    if form[0] in "([" or r"\cup" in form:
        return "tuple"
    return "value" if form.replace("/", "").lstrip("-").isdigit() else "expression"


def _form(text: str) -> tuple[str, bool]:
    """One pass of normalisation, and whether the text was understood."""
    try:
        tokens = tokenize(text)
    except UnparsedError:
        return text, False
    tokens = _without_preamble(tokens)
    choice = _choice(tokens)
    if choice is not None:
        return choice, True
    try:
        values = _values(Ring(), tokens, 0)
    except UnparsedError:
        return as_text(tokens).strip() or text, False
    return values[0] if len(values) == 1 else _braced(values), True


def _without_preamble(tokens: list[str]) -> list[str]:
    """Without `the final answer is`, `Answer:` and the like in front of an answer."""
    for at, token in enumerate(tokens[:3]):
        if token.lower() in ("answer", "ans"):
            after = at + 1
            while tokens[after : after + 1] and tokens[after] in ("is", ":", "="):
                after += 1
            return tokens[after:] or tokens
        if token.lower() not in ("the", "final", "my", "our"):
            break
    return tokens


def _choice(tokens: list[str]) -> str | None:
    """The letter of `B`, `(B)`, `B)`, `b.` and of `(B) brown mouse`; None for any other shape."""
    at = 1 if tokens[:1] == ["("] else 0
    letter = tokens[at] if len(tokens) > at else ""
    after = at + 1
    closed = tokens[after : after + 1] == [")"]
    if letter.upper() not in _CHOICES or (at and not closed):
        return None
    rest = tokens[after + closed :]
    if not rest:
        return letter.upper()
    # `(a) 5 (b) 7` answers two parts: only a capital with one bracket and a label behind it is a choice.
    labelled = closed and letter.isupper() and rest[0] not in ("(", ":") and (is_number(rest[0]) or rest[0].isalpha())
    if labelled and not any(token == ")" and is_word(rest[i - 1]) for i, token in enumerate(rest) if i):
        return letter
    return None


def _braced(values: list[str]) -> str:
    # Solutions count once, `3, 3, 4` may be the sides of a triangle.
    if all(value.startswith("(") for value in values):
        values = list(set(values))
    return r"\{" + ", ".join(sorted(values)) + r"\}"


def _expression(ring: Ring, tokens: list[str]) -> Polynomial:
    return Parser(tokens, ring).parse()


def _single(ring: Ring, tokens: list[str], depth: int) -> str:
    values = _values(ring, tokens, depth)
    if len(values) != 1:
        raise UnparsedError("several values where one belongs")
    return values[0]


def _values(ring: Ring, tokens: list[str], depth: int) -> list[str]:
    """Canonical forms of the values that the tokens list: one, unless commas, `and` or `\\pm` make more."""
    if depth > _MAX_DEPTH:
        raise UnparsedError("nested too deeply")
    tokens = _unwrapped(_without_approximation(tokens))
    if len(split(tokens, _LIST_WORDS | {","})) == 1:
        tokens = _unwrapped(without_units(tokens))
    parts = [p for p in split(tokens, _LIST_WORDS) if p]
    systems = [[q for q in split(p, frozenset({","})) if q] for p in parts]
    if len(parts) > 1 and all(len(system) > 1 and all("=" in q for q in system) for system in systems):
        return [_assignment(ring, system, depth) for system in systems]
    if len(parts) > 1 and ";" in tokens and all("=" in p and _is_closed(p) for p in parts):
        # `2 * 3 = 6; 6 + 1 = 7` is a calculation in steps.
        return _values(ring, parts[-1], depth + 1)
    elements = [q for system in systems for q in system]
    if len(elements) > 1:
        if _has_padding(elements) or _mixes_units(elements):
            raise UnparsedError("decimal comma, or quantities of different kinds")
        labels = {tuple(split(e, frozenset({"="}))[0]) for e in elements if "=" in e}
        if len(labels) > 1 and not _numbers_roots(labels):
            return [_assignment(ring, elements, depth)]
        return [v for e in elements for v in _values(ring, e, depth + 1)]
    if not elements:
        raise UnparsedError("no value")
    return _scalar(ring, elements[0], depth)


def _numbers_roots(labels: set[tuple[str, ...]]) -> bool:
    """Whether the names are `x_1`, `x_2` and so on, which number the solutions for one unknown."""
    return len({label[:1] for label in labels}) == 1 and all(
        len(label) > 2 and label[0] in _UNKNOWNS and label[1] == "_" and "".join(label[2:]).strip("{}").isdigit()
        for label in labels
    )


def _mixes_units(elements: list[list[str]]) -> bool:
    """Whether `2 hours and 30 minutes`; `3 cm, 4 cm` and `3, 4 cm` are lists of one unit."""
    *units, last = (tuple(e[len(without_units(e)) :]) for e in elements)
    return len(set(units)) > 1 or units[0] not in ((), last)


def _without_approximation(tokens: list[str]) -> list[str]:
    """`\\sqrt{3} \\approx 1.73` is its exact side; `x \\approx 11` is 11."""
    if r"\approx" not in tokens:
        return tokens
    at = tokens.index(r"\approx")
    head, tail = tokens[:at], tokens[at + 1 :]
    return tail if _is_label(head) and r"\approx" not in tail else head


def _unwrapped(tokens: list[str]) -> list[str]:
    """Without brackets around one value, and without the bare braces of `{1, 2}`, which then is a list."""
    while enclosed(tokens) and (tokens[0], tokens[-1]) in (("(", ")"), ("{", "}")):
        inner = tokens[1:-1]
        several = len(split(inner, frozenset({",", ";"}))) > 1
        if tokens[0] == "(" and (several or not inner):
            return tokens
        tokens = inner
    return tokens


def _assignment(ring: Ring, elements: list[list[str]], depth: int) -> str:
    """`x = 1, y = 2` as the tuple of the values in order of the names, so that swapped values stay apart."""
    named: dict[str, str] = {}
    for element in elements:
        label, *sides = split(element, frozenset({"="}))
        if len(sides) != 1 or not _is_label(label) or as_text(label) in named:
            raise UnparsedError("not one value for each name")
        named[as_text(label)] = _single(ring, sides[0], depth + 1)
    return "(" + ", ".join(value for _, value in sorted(named.items())) + ")"


def _is_label(tokens: list[str]) -> bool:
    """Whether the tokens only name what is asked for: `x`, `x_1`, `f(x)`, `(p, q)`, `\\angle ABC`, `AB : CD`."""
    if not tokens or not (tokens[0] == "(" or tokens[0][-1].isalpha()):
        return False
    if len(tokens) == 1 and len(tokens[0]) == 2 and tokens[0].islower():
        # `xy = 6` is an equation; `AB = 6` names a segment.
        return False
    depth = variables = 0
    for at, token in enumerate(tokens):
        depth += (token in "([{") - (token in ")]}")
        subscript = at > 0 and tokens[at - 1] == "_"
        if is_number(token):
            if depth == 0 and not subscript:
                return False
        elif depth == 0 and (len(token) == 1 or token in GREEK) and token[-1].isalpha():
            variables += not subscript
        elif not (is_word(token) or token in GREEK or token in "()[]{}_,:'" or token in _NAMING):
            return False
    # Two variables side by side are a product, unless they name an angle or the terms of a ratio.
    return variables < 2 or ":" in tokens or r"\angle" in tokens


def _is_closed(tokens: list[str]) -> bool:
    """Whether no variable occurs, so that the two sides of an equals sign are one computed number."""
    return bool(tokens) and not any((is_word(t) and t not in FUNCTIONS and t != "sqrt") or t in GREEK for t in tokens)


def _scalar(ring: Ring, tokens: list[str], depth: int) -> list[str]:
    if r"\in" in tokens:
        label, *sides = split(tokens, frozenset({r"\in"}))
        if len(sides) != 1 or not _is_label(label):
            raise UnparsedError("membership of an expression")
        return _values(ring, sides[0], depth + 1)
    if len(split(tokens, _RELATIONS)) > 1:
        return [_relation(ring, tokens, depth)]
    sides = [side for side in split(tokens, frozenset({"="})) if side]
    if len(sides) > 1:
        return _equation(ring, sides, depth)
    if len(sides) != 1:
        raise UnparsedError("no value")
    tokens = sides[0]
    if len(tokens) == 2 and tokens[0].isdigit() and tokens[0][-1:].endswith(_ORDINALS.get(tokens[1], "-")):
        tokens = tokens[:1]
    union = split(tokens, frozenset({r"\cup"}))
    if len(union) > 1:
        return [r" \cup ".join(sorted(_single(ring, part, depth + 1) for part in union))]
    if tokens[0] == r"\begin":
        return [_matrix(ring, tokens, depth)]
    if enclosed(tokens):
        bracketed = _bracketed(ring, tokens, depth)
        if bracketed is not None:
            return [bracketed]
    if tokens == [r"\emptyset"]:
        return [r"\{\}"]
    ratio = split(tokens, frozenset({":"}))
    if len(ratio) > 1:
        return [":".join(p[0] if len(p) == 1 and p[0].isdigit() else show(_expression(ring, p)) for p in ratio)]
    if r"\pm" in tokens or r"\mp" in tokens:
        return _both_signs(ring, tokens)
    # As a product of letters, `cat` would be `act`.
    prose = all(map(is_word, tokens)) and any(len(t) > 2 for t in tokens) and not _calls(tokens)
    if _is_range(tokens) or prose:
        raise UnparsedError("a range, a date or words")
    return [show(_expression(ring, _mixed(tokens)))]


def _calls(tokens: list[str]) -> bool:
    return any(token in FUNCTIONS or token == "sqrt" for token in tokens)


def _is_range(tokens: list[str]) -> bool:
    """`10-15` and `2024-01-02`: as differences they would merge with other ranges of one length."""
    return len(tokens) > 2 and all(t == "-" if i % 2 else is_number(t) for i, t in enumerate(tokens))


def _has_padding(parts: list[list[str]]) -> bool:
    """Whether a part is a numeral such as `000`: `(10,000)` and `5,00` may be one number or two."""
    return any(len(p) == 1 and len(p[0]) > 1 and p[0].isdigit() and p[0][0] == "0" for p in parts)


def _mixed(tokens: list[str]) -> list[str]:
    """`1 1/2` as `1 \\frac{1}{2}`; two numbers side by side mean nothing else."""
    signed = len(tokens) == 5 and tokens[0] in ("+", "-")
    if len(tokens) - signed != 4 or tokens[-2] != "/" or not all(t.isdigit() for t in (*tokens[signed:-2], tokens[-1])):
        return tokens
    return [*tokens[: 1 + signed], r"\frac", "{", tokens[-3], "}", "{", tokens[-1], "}"]


def _both_signs(ring: Ring, tokens: list[str]) -> list[str]:
    signs = ({r"\pm": "+", r"\mp": "-"}, {r"\pm": "-", r"\mp": "+"})
    return [show(_expression(ring, [sign.get(token, token) for token in tokens])) for sign in signs]


def _equation(ring: Ring, sides: list[list[str]], depth: int) -> list[str]:
    while len(sides) > 1 and _is_label(sides[0]):
        names = sides[0] if sides[0][0] == "(" else sides[0][:1]
        if any(is_word(name) and name in side for name in names for side in sides[1:]):
            break
        sides = sides[1:]
    if len(sides) == 1:
        return _values(ring, sides[0], depth + 1)
    if len(sides) == 2 and _is_label(sides[1]) and _is_closed(sides[0]):
        return _values(ring, sides[0], depth + 1)
    if all(_is_closed(side) for side in sides):
        return _values(ring, sides[-1], depth + 1)
    if len(sides) != 2:
        raise UnparsedError("chain of equations")
    difference = _difference(ring, *sides)
    return [show(scale(difference, 1 / leading(difference))) + "=0"]


def _difference(ring: Ring, left: list[str], right: list[str]) -> Polynomial:
    difference = add(_expression(ring, left), scale(_expression(ring, right), Fraction(-1)))
    if not difference or min(difference, key=sort_key) == ():
        raise UnparsedError("no variable on either side")
    return difference


def _relation(ring: Ring, tokens: list[str], depth: int) -> str:
    """`5 >= x` and `x <= 5` in one direction; two sides are brought to `... <= 0` with leading coefficient 1."""
    sides = split(tokens, _RELATIONS)
    signs = [t for t in at_top(tokens) if t in _RELATIONS]
    if len(sides) == 2:
        difference = _difference(ring, *sides)
        lead = leading(difference)
        sign = signs[0] if lead > 0 else _FLIPPED[signs[0]]
        return show(scale(difference, 1 / lead)) + sign + "0"
    if "!=" in signs:
        raise UnparsedError("chain with an inequation")
    if signs[0][0] == ">":
        sides, signs = sides[::-1], [_FLIPPED[sign] for sign in signs[::-1]]
    forms = [_single(ring, side, depth + 1) for side in sides]
    return forms[0] + "".join(sign + form for sign, form in zip(signs, forms[1:], strict=True))


def _bracketed(ring: Ring, tokens: list[str], depth: int) -> str | None:
    """A tuple, interval, list in square brackets or set; None for brackets that only group."""
    opener, closer = tokens[0], tokens[-1]
    inner = tokens[1:-1]
    if (opener, closer) == (r"\{", r"\}"):
        return _braced(_values(ring, inner, depth + 1)) if inner else r"\{\}"
    if opener not in "([" or closer not in ")]":
        return None
    parts = split(inner, frozenset({","}))
    if len(parts) == 1 and opener == "(":
        return None
    if _has_padding(parts):
        raise UnparsedError("thousands or a pair")
    return opener + ", ".join(_single(ring, part, depth + 1) for part in parts) + closer


def _matrix(ring: Ring, tokens: list[str], depth: int) -> str:
    """A matrix by its rows; round and square brackets are one, determinants and cases are not read."""
    name = tokens[2:3]
    plain = tokens[:4] == [r"\begin", "{", *name, "}"] and tokens[-4:] == [r"\end", "{", *name, "}"]
    inner = tokens[4:-4]
    if not plain or name[0] not in ("matrix", "pmatrix", "bmatrix") or r"\begin" in inner:
        raise UnparsedError("no plain matrix")
    rows = [row for row in split(inner, frozenset({"\\\\"})) if row]
    forms = [r"&".join(_single(ring, cell, depth + 1) for cell in split(row, frozenset({"&"}))) for row in rows]
    return r"\begin{pmatrix}" + r"\\".join(forms) + r"\end{pmatrix}"
