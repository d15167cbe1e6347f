"""Recursive descent from tokens to an exact `Polynomial`: LaTeX and plain-text spellings of one value."""

from fractions import Fraction

from .algebra import (
    INFINITY,
    MAX_EXPONENT,
    Polynomial,
    Ring,
    add,
    atom,
    constant,
    rational,
    scale,
    show,
)
from .notation import UnparsedError, as_text, is_number, is_word

# Deeper nesting than 40 is no final answer, and each level costs up to seven Python frames of a default thousand.
MAX_DEPTH = 40

_FUNCTION_NAMES = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp gcd lcm max min"
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_GREEK_NAMES = r"""
\alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \kappa \lambda \mu \nu \xi \rho \sigma \tau
\phi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Sigma \Phi \Psi \Omega \ell
"""
GREEK = frozenset(_GREEK_NAMES.split())
# `6th` is no product of t and h.
_NO_PRODUCTS = FUNCTIONS | {"th", "st", "nd", "rd"}
_CLOSER = {"(": ")", "[": "]", "{": "}"}


def numeral(token: str) -> Fraction:
    """The exact value of an unsigned numeral; raises UnparsedError past an exponent of 400."""
    mantissa, _, exponent = token.lower().partition("e")
    if exponent and (len(exponent) > 5 or abs(int(exponent)) > MAX_EXPONENT):
        raise UnparsedError("exponent too large")
    return Fraction(mantissa.rstrip(".")) * Fraction(10) ** int(exponent or "0")


def letters(token: str) -> list[str] | None:
    """Variables that a run of letters multiplies, or None for a word.

    Up to three lower-case letters without e, i, o, u are a product (`xy`, `abc`); longer runs are words.
    """
    if len(token) == 1:
        return [token]
    if len(token) <= 3 and token.islower() and not set(token) & set("eiou") and token not in _NO_PRODUCTS:
        return list(token)
    return None


class Parser:
    """One pass over the tokens of one expression; `parse` raises UnparsedError when any of it is not understood."""

    def __init__(self, tokens: list[str], ring: Ring) -> None:
        self.tokens = list(tokens)
        self.at = 0
        self.depth = 0
        self.powered = False
        self.ring = ring

    def parse(self) -> Polynomial:
        """The value of the whole token list."""
        if not self.tokens:
            raise UnparsedError("nothing to parse")
        value = self._sum()
        if self.at != len(self.tokens):
            raise UnparsedError("text after the expression")
        return value

    def _peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else "\0"

    def _take(self) -> str:
        token = self._peek()
        if token == "\0":
            raise UnparsedError("expression ends early")
        self.at += 1
        return token

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise UnparsedError(f"{token} is missing")

    def _sum(self) -> Polynomial:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnparsedError("nested too deeply")
        total = self._product()
        while self._peek() in ("+", "-"):
            sign = self._take()
            total = add(total, scale(self._product(), Fraction(-1 if sign == "-" else 1)))
        self.depth -= 1
        return total

    def _starts_factor(self) -> bool:
        token = self._peek()
        if token in ("(", "{", r"\frac", r"\sqrt", r"\binom", r"\pi", INFINITY, r"\mathbb"):
            return True
        return is_word(token) or token in GREEK or token[1:] in FUNCTIONS

    def _product(self) -> Polynomial:
        total = self._signed()
        slashed = False
        while True:
            token = self._peek()
            if token in ("*", "/"):
                self._take()
                factor = self._signed()
                slashed = token == "/"
                total = self.ring.multiply(total, self.ring.invert(factor) if slashed else factor)
            elif self._starts_factor() or (is_number(token) and self._peek(1) == "^" and self.powered):
                # Implied products: `2^6 3^5` is one, but `1/2x` is read both as x/2 and as 1/(2x), and the
                # brackets of `0.5 (50)` hold a remark.
                remark = token == "(" and self._peek(2) == ")" and is_number(self._peek(1))
                if slashed or (remark and is_number(self.tokens[self.at - 1])):
                    raise UnparsedError("no certain product")
                total = self.ring.multiply(total, self._power())
            else:
                return total

    def _signed(self) -> Polynomial:
        negative = False
        while self._peek() in ("+", "-"):
            negative ^= self._take() == "-"
        value = self._power()
        return scale(value, Fraction(-1)) if negative else value

    def _power(self) -> Polynomial:
        value = self._postfix()
        powered = self._peek() == "^"
        if powered:
            self._take()
            value = self.ring.power(value, self._exponent())
        self.powered = powered
        return value

    def _exponent(self) -> Polynomial:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnparsedError("nested too deeply")
        value = self._signed()
        self.depth -= 1
        return value

    def _postfix(self) -> Polynomial:
        value = self._primary()
        while self._peek() == "!":
            self._take()
            value = self.ring.factorial(value)
        return value

    def _group(self) -> Polynomial:
        closer = _CLOSER[self._take()]
        value = self._sum()
        self._expect(closer)
        return value

    def _primary(self) -> Polynomial:
        token = self._peek()
        if is_number(token):
            return self._number()
        if token in ("(", "{"):
            return self._group()
        self._take()
        if token == r"\frac":
            top = self._argument()
            return self.ring.multiply(top, self.ring.invert(self._argument()))
        if token in (r"\sqrt", "sqrt"):
            return self._root(token)
        if token == r"\binom":
            top = self._argument()
            return self.ring.binomial(top, self._argument())
        if token == r"\mathbb":
            return atom(r"\mathbb{" + self._bare_group() + "}")
        if token in (r"\pi", INFINITY):
            return atom(token)
        if token.lstrip("\\") in FUNCTIONS:
            return self._function(token.lstrip("\\"))
        if is_word(token) or token in GREEK:
            return self._symbol(token)
        raise UnparsedError(f"{token} has no exact value")

    def _number(self) -> Polynomial:
        token = self._take()
        if self._peek() == "_":
            self._take()
            base = self._bare_group() if self._peek() == "{" else self._take()
            return atom(f"{token}_{{{base}}}")
        value = constant(numeral(token))
        if self._peek() == r"\frac" and token.isdigit():
            value = add(value, self._mixed_part())
        return value

    def _mixed_part(self) -> Polynomial:
        """The fraction of `1\\frac{1}{2}`; anything else after a whole number would be a product."""
        self._take()
        top, bottom = rational(self._argument()), rational(self._argument())
        if top is None or bottom is None or not 0 < top < bottom or top.denominator * bottom.denominator != 1:
            raise UnparsedError("neither a mixed number nor a plain product")
        return constant(top / bottom)

    def _argument(self) -> Polynomial:
        """A LaTeX argument: a group, or one character, so that `\\frac12` is a half."""
        token = self._peek()
        if token == "{":
            return self._group()
        if token.isdigit() and len(token) > 1:
            if len(token) > 2:
                raise UnparsedError("unbraced argument of several digits")
            self.tokens[self.at] = token[1:]
            return constant(int(token[0]))
        if is_number(token):
            return constant(numeral(self._take()))
        if token == "-" or token == "\0":
            raise UnparsedError("argument is missing")
        return self._primary_nested()

    def _primary_nested(self) -> Polynomial:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnparsedError("nested too deeply")
        value = self._primary()
        self.depth -= 1
        return value

    def _root(self, token: str) -> Polynomial:
        degree = 2
        if self._peek() == "[":
            whole = rational(self._group())
            if whole is None or whole.denominator != 1 or not 2 <= whole <= 64:
                raise UnparsedError("root of an odd degree")
            degree = whole.numerator
        if token == r"\sqrt":
            if self._peek().isdigit() and len(self._peek()) > 1:
                raise UnparsedError("unbraced root of several digits")
            return self.ring.root(self._primary_nested() if self._peek() == "(" else self._argument(), degree)
        return self.ring.root(self._primary_nested(), degree)

    def _bare_group(self) -> str:
        """The tokens of a brace group as text: subscripts and set names have no value."""
        self._expect("{")
        inner: list[str] = []
        while self._peek() != "}":
            token = self._take()
            if token in ("{", "^", "_"):
                raise UnparsedError("nested subscript")
            inner.append(token)
        self._take()
        return as_text(inner)

    def _subscript(self) -> str:
        if self._peek() != "_":
            return ""
        self._take()
        return "_{" + (self._bare_group() if self._peek() == "{" else as_text([self._take()])) + "}"

    def _function(self, name: str) -> Polynomial:
        name += self._subscript()
        exponent = None
        if self._peek() == "^":
            self._take()
            exponent = self._exponent_of_function()
        if self._peek() in ("(", "{"):
            opener = self._peek()
            arguments = self._arguments(_CLOSER[opener])
        else:
            # `\sin 2x` takes the numbers and variables that follow; `\sin x \cos y` stops at \cos.
            value = self._primary_nested()
            while is_word(self._peek()) and self._peek() not in FUNCTIONS and self._peek() != "sqrt":
                value = self.ring.multiply(value, self._power())
            arguments = show(value)
        value = atom(f"{name}({arguments})")
        return value if exponent is None else self.ring.power(value, exponent)

    def _exponent_of_function(self) -> Polynomial:
        if self._peek() == "{":
            return self._group()
        return constant(numeral(self._take())) if is_number(self._peek()) else self._fail()

    def _fail(self) -> Polynomial:
        raise UnparsedError("exponent of a function")

    def _arguments(self, closer: str) -> str:
        self._take()
        arguments = [show(self._sum())]
        while self._peek() == ",":
            self._take()
            arguments.append(show(self._sum()))
        self._expect(closer)
        return ",".join(arguments)

    def _symbol(self, token: str) -> Polynomial:
        variables = [token] if token in GREEK else letters(token)
        if variables is None:
            if len(token) > 4 or not token.isupper():
                raise UnparsedError("words")
            variables = [token]
        names = [*variables[:-1], variables[-1] + self._subscript()]
        while self._peek() == "'":
            self._take()
            names[-1] += "'"
        if len(names) == 1 and self._peek() == "(" and self._is_call(token):
            return atom(f"{names[0]}({self._arguments(')')})")
        value = constant(1)
        for name in names[:-1]:
            value = self.ring.multiply(value, atom(name))
        if self._peek() == "^" and len(names) > 1:
            # In `xy^2` only y is squared.
            self._take()
            return self.ring.multiply(value, self.ring.power(atom(names[-1]), self._exponent()))
        return self.ring.multiply(value, atom(names[-1]))

    def _is_call(self, token: str) -> bool:
        """f(x), P(0) and x(5) are never read as products: a false product is a false merge."""
        if token.isupper() or token in ("f", "g", "h"):
            return True
        return self._peek(2) == ")" and (is_number(self._peek(1)) or is_word(self._peek(1)))
