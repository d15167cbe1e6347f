"""Exact sums of products: rationals, square roots, pi, variables and opaque atoms.

A `Polynomial` maps a monomial, a sorted tuple of (atom, exponent), to a non-zero Fraction. Atoms are text:
`x`, `\\pi`, `sqrt(2)`, `sin(x)`. Square roots of integers are split into primes (sqrt(6) is sqrt(2) times
sqrt(3)) and their squares reduced, so equal sums of rational surds have one form. No floats, so nothing
merges by rounding.
"""

import math
from collections import Counter
from fractions import Fraction

from .notation import UnparsedError

Monomial = tuple[tuple[str, int], ...]
Polynomial = dict[Monomial, Fraction]

# 4,096 bits print as 1,233 digits, well inside Python's 4,300-digit limit on int/str conversion.
MAX_BITS = 4096
MAX_RADICAND_BITS = 256
MAX_TERMS = 64
# Products of two terms allowed for one answer, long coefficients counting more: about 5 ms of work.
MAX_PRODUCTS = 2000
MAX_FACTORIAL = 170
MAX_EXPONENT = 400

_SMALL_PRIMES = [p for p in range(2, 1000) if all(p % q for q in range(2, math.isqrt(p) + 1))]
INFINITY = "\\infty"


def constant(value: Fraction | int) -> Polynomial:
    """A rational number as a polynomial."""
    value = Fraction(value)
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise UnparsedError("number too large")
    return {(): value} if value else {}


def atom(name: str) -> Polynomial:
    """A variable, a constant such as pi, or any other expression taken as it stands."""
    return {((name, 1),): Fraction(1)}


def rational(value: Polynomial) -> Fraction | None:
    """The value when it is a rational number, else None."""
    if not value:
        return Fraction(0)
    return value[()] if len(value) == 1 and () in value else None


def add(left: Polynomial, right: Polynomial) -> Polynomial:
    """Sum."""
    total = dict(left)
    for monomial, coefficient in right.items():
        total[monomial] = total.get(monomial, Fraction(0)) + coefficient
        if not total[monomial]:
            del total[monomial]
    return _bounded(total)


def scale(value: Polynomial, factor: Fraction) -> Polynomial:
    """Product with a rational number."""
    return _bounded({m: c * factor for m, c in value.items()}) if factor else {}


def _bits(value: Polynomial) -> int:
    """Size of the largest numerator or denominator."""
    return max((max(c.numerator.bit_length(), c.denominator.bit_length()) for c in value.values()), default=1)


def _bounded(value: Polynomial) -> Polynomial:
    if len(value) > MAX_TERMS:
        raise UnparsedError("too many terms")
    if _bits(value) > MAX_BITS:
        raise UnparsedError("number too large")
    return value


def _reduce(exponents: dict[str, int]) -> tuple[Monomial, Fraction]:
    """Apply sqrt(p)^2 = p and i^2 = -1; a root of a number never keeps an exponent outside 0 and 1."""
    factor = Fraction(1)
    for name, exponent in list(exponents.items()):
        if name.startswith("sqrt(") and name[5:-1].isdigit():
            pairs, exponents[name] = divmod(exponent, 2)
            if abs(pairs) * len(name) * 4 > MAX_BITS:
                raise UnparsedError("number too large")
            factor *= Fraction(int(name[5:-1])) ** pairs
        elif name == "i":
            factor *= -1 if exponent % 4 in (2, 3) else 1
            exponents[name] = exponent % 2
    return tuple(sorted((n, e) for n, e in exponents.items() if e)), factor


def sort_key(monomial: Monomial) -> tuple[int, Monomial]:
    """Order of the terms in print: highest degree first, the constant last."""
    return (-sum(abs(e) for _, e in monomial), monomial)


def leading(value: Polynomial) -> Fraction:
    """Coefficient of the first term in print order."""
    return value[min(value, key=sort_key)]


class Ring:
    """Products, powers and roots under one budget of work, spent for one answer."""

    def __init__(self) -> None:
        self.products = 0

    def multiply(self, left: Polynomial, right: Polynomial) -> Polynomial:
        """Product. Raises UnparsedError when the budget is spent or the result is too large."""
        self.products += len(left) * len(right) * (1 + (_bits(left) + _bits(right)) // 256)
        if self.products > MAX_PRODUCTS:
            raise UnparsedError("too much work")
        total: Polynomial = {}
        for m, c in left.items():
            for n, d in right.items():
                exponents = dict(m)
                for name, exponent in n:
                    exponents[name] = exponents.get(name, 0) + exponent
                monomial, factor = _reduce(exponents) if exponents else ((), Fraction(1))
                total[monomial] = total.get(monomial, Fraction(0)) + c * d * factor
        return _bounded({m: c for m, c in total.items() if c})

    def power(self, base: Polynomial, exponent: Polynomial) -> Polynomial:
        """Power; exact for whole exponents and for roots of numbers, an opaque atom otherwise."""
        n = rational(exponent)
        if n is None:
            return atom(f"(({show(base)})^({show(exponent)}))")
        if n.denominator != 1:
            if n.denominator > MAX_EXPONENT or abs(n.numerator) > MAX_EXPONENT:
                raise UnparsedError("exponent too large")
            return self.power(self.root(base, n.denominator), constant(n.numerator))
        whole = n.numerator
        if whole < 0:
            return self.invert(self.power(base, constant(-whole)))
        if whole > MAX_BITS or _bits(base) * whole > 2 * MAX_BITS:
            raise UnparsedError("power too large")
        value = rational(base)
        if value is not None:
            if not value and not whole:
                raise UnparsedError("zero to the power zero")
            return constant(value**whole)
        result = constant(1)
        while whole:
            if whole & 1:
                result = self.multiply(result, base)
            whole >>= 1
            if whole:
                base = self.multiply(base, base)
        return result

    def invert(self, value: Polynomial) -> Polynomial:
        """One over the value: exact for one term, rationalised for square roots, else an atom."""
        if not value:
            raise UnparsedError("division by zero")
        if len(value) == 1:
            ((monomial, coefficient),) = value.items()
            inverse, factor = _reduce({name: -exponent for name, exponent in monomial})
            return {inverse: factor / coefficient}
        surds = {n for m in value for n, _ in m if n == "i" or (n.startswith("sqrt(") and n[5:-1].isdigit())}
        if all(n in surds for m in value for n, _ in m):
            name = min(surds)
            conjugate = {m: -c if (name, 1) in m else c for m, c in value.items()}
            return self.multiply(conjugate, self.invert(self.multiply(value, conjugate)))
        lead = leading(value)
        return {((f"({show(scale(value, 1 / lead))})", -1),): 1 / lead}

    def root(self, value: Polynomial, degree: int) -> Polynomial:
        """Principal root of whole degree; powers are taken out of numbers, the rest is an atom."""
        number = rational(value)
        if degree == 1:
            return value
        if number is None:
            return self._root_of_surds(value, degree)
        if number < 0 and degree != 2:
            text = show(value)
            return atom(f"sqrt({text})" if degree == 2 else f"(({text})^(1/{degree}))")
        if number < 0:
            return self.multiply(atom("i"), self.root(constant(-number), 2))
        # (a/b)^(1/n) = (a b^(n-1))^(1/n) / b
        if degree > 64 or number.denominator.bit_length() * degree > MAX_RADICAND_BITS:
            raise UnparsedError("root too large")
        radicand = number.numerator * number.denominator ** (degree - 1)
        if radicand.bit_length() > MAX_RADICAND_BITS:
            raise UnparsedError("root too large")
        outside, inside = _take_out(radicand, degree)
        common = math.gcd(degree, *Counter(inside).values()) if inside else 1
        if common > 1:
            # The fourth root of 4 is the square root of 2.
            degree //= common
            inside = [p for p, times in Counter(inside).items() for _ in range(times // common)]
        result = constant(Fraction(outside, number.denominator))
        if degree == 2:
            for factor in inside:
                result = self.multiply(result, atom(f"sqrt({factor})"))
        elif inside:
            result = self.multiply(result, atom(f"(({math.prod(inside)})^(1/{degree}))"))
        return result

    def _root_of_surds(self, value: Polynomial, degree: int) -> Polynomial:
        """Root of `c sqrt(m)` as one root of a number, and of `a + b sqrt(m)` where it is a sum of two roots."""
        surds = [(c, _surd(m)) for m, c in sorted(value.items())]
        if len(surds) == 1 and surds[0][0] > 0 and surds[0][1]:
            coefficient, radicand = surds[0]
            return self.root(constant(coefficient**2 * radicand), 2 * degree)
        if degree == 2 and len(surds) == 2 and surds[0][1] == 1 and surds[0][0] > 0 and surds[1][1]:
            whole, (coefficient, radicand) = surds[0][0], surds[1]
            rest = self.root(constant(whole**2 - coefficient**2 * radicand), 2)
            number = rational(rest)
            if number is not None:
                larger, smaller = (self.root(constant((whole + sign * number) / 2), 2) for sign in (1, -1))
                return add(larger, scale(smaller, Fraction(1 if coefficient > 0 else -1)))
        text = show(value)
        return atom(f"sqrt({text})" if degree == 2 else f"(({text})^(1/{degree}))")

    def factorial(self, value: Polynomial) -> Polynomial:
        """Factorial of a small whole number."""
        n = rational(value)
        if n is None or n.denominator != 1 or not 0 <= n <= MAX_FACTORIAL:
            raise UnparsedError("factorial outside the exact range")
        return constant(math.factorial(n.numerator))

    def binomial(self, top: Polynomial, bottom: Polynomial) -> Polynomial:
        """Binomial coefficient of small whole numbers."""
        n, k = rational(top), rational(bottom)
        if n is None or k is None or n.denominator != 1 or k.denominator != 1 or not 0 <= k <= n <= MAX_EXPONENT:
            raise UnparsedError("binomial outside the exact range")
        return constant(math.comb(n.numerator, k.numerator))


def _surd(monomial: Monomial) -> int:
    """The product of the numbers under a monomial's square roots; 0 when it has any other atom."""
    product = 1
    for name, exponent in monomial:
        if exponent != 1 or not (name.startswith("sqrt(") and name[5:-1].isdigit()):
            return 0
        product *= int(name[5:-1])
    return product


def _take_out(radicand: int, degree: int) -> tuple[int, list[int]]:
    """Write radicand as outside**degree times the product of inside.

    Trial division stops at 1,000: a larger cofactor that is no perfect power stays whole, which can miss a
    merge but cannot make a false one.
    """
    outside, inside = 1, []
    if not radicand:
        return 0, []
    for prime in _SMALL_PRIMES:
        times = 0
        while radicand % prime == 0:
            radicand //= prime
            times += 1
        outside *= prime ** (times // degree)
        inside += [prime] * (times % degree)
    if radicand > 1:
        root = math.isqrt(radicand)
        if degree == 2 and root * root == radicand:
            outside *= root
        else:
            inside.append(radicand)
    return outside, inside


def _show_monomial(monomial: Monomial) -> str:
    surds = [int(n[5:-1]) for n, _ in monomial if n.startswith("sqrt(") and n[5:-1].isdigit()]
    parts = [f"sqrt({math.prod(surds)})"] if surds else []
    for name, exponent in monomial:
        if name.startswith("sqrt(") and name[5:-1].isdigit():
            continue
        parts.append(name if exponent == 1 else f"{name}^{exponent}" if exponent > 0 else f"{name}^({exponent})")
    return "*".join(parts)


def show(value: Polynomial) -> str:
    """The one spelling of a value, which parses back to itself. Infinity takes part in no sum or product."""
    if any(n == INFINITY for m in value for n, _ in m) and value not in (
        atom(INFINITY),
        scale(atom(INFINITY), Fraction(-1)),
    ):
        raise UnparsedError("arithmetic with infinity")
    text = ""
    for monomial in sorted(value, key=sort_key):
        coefficient = value[monomial]
        size = abs(coefficient)
        body = _show_monomial(monomial)
        if not body:
            body = str(size)
        elif size != 1:
            body = f"{size}*{body}"
        text += ("-" if coefficient < 0 else "+" if text else "") + body
    return text or "0"
