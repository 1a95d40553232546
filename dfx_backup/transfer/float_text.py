"""Floats as serde_json prints them: the shortest digits that read back as the same float.

Among the shortest the nearest is taken. The notation is that of serde_json 1.0.147 and later, which
dfx 0.32 and icp 1.5 are built with: always a point or an exponent, `1e+16`, `-0.0` with its sign.
Earlier versions wrote `1e16`; both are read everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFormat:
    """An IEEE 754 binary format.

    Attributes:
        bits: in all.
        fraction_bits: stored bits of the significand.
        longest: digits before the point from which on an exponent is written.
        smallest: zeros after "0." from which on an exponent is written, plus one.
    """

    bits: int
    fraction_bits: int
    longest: int
    smallest: int


F32 = FloatFormat(bits=32, fraction_bits=23, longest=13, smallest=6)
F64 = FloatFormat(bits=64, fraction_bits=52, longest=16, smallest=5)


def float_text(bits: int, form: FloatFormat) -> str | None:
    """The float with these bits as text, or None for an infinity or a NaN.

    Args:
        bits: the IEEE 754 bits as an unsigned number.
        form: `F32` or `F64`.
    """
    exponent_bits = form.bits - 1 - form.fraction_bits
    sign = "-" if bits >> (form.bits - 1) else ""
    exponent = (bits >> form.fraction_bits) & ((1 << exponent_bits) - 1)
    fraction = bits & ((1 << form.fraction_bits) - 1)
    if exponent == (1 << exponent_bits) - 1:
        return None
    if exponent == 0 and fraction == 0:
        return f"{sign}0.0"
    hidden = 0 if exponent == 0 else 1 << form.fraction_bits
    power = max(exponent, 1) - ((1 << (exponent_bits - 1)) - 1) - form.fraction_bits
    narrow = fraction == 0 and exponent > 1  # the float below is only half as far away
    digits, scale = _shortest(fraction | hidden, power, narrow=narrow)
    return sign + _notation(digits, scale, form)


def _shortest(significand: int, power: int, *, narrow: bool) -> tuple[str, int]:
    """Digits and the power of ten of the last of them."""
    unit = Fraction(2) ** power
    value = significand * unit
    low = value - unit / (4 if narrow else 2)
    high = value + unit / 2
    even = significand % 2 == 0
    scale = _magnitude(value)
    while True:
        fitting = [
            each
            for each in _around(value, scale)
            if low < each[0] < high or (even and each[0] in (low, high))
        ]
        if fitting:
            _, number = min(fitting, key=lambda each: (abs(each[0] - value), each[1] % 2))
            text = str(number)
            bare = text.rstrip("0")
            return bare, scale + len(text) - len(bare)
        scale -= 1


def _around(value: Fraction, scale: int) -> Iterator[tuple[Fraction, int]]:
    step = Fraction(10) ** scale
    below = value // step
    for number in (below, below + 1):
        if number:
            yield number * step, number


def _magnitude(value: Fraction) -> int:
    """The power of ten of the first digit, or one more."""
    return len(str(value.numerator)) - len(str(value.denominator)) + 1


def _notation(digits: str, scale: int, form: FloatFormat) -> str:
    point = len(digits) + scale  # digits before the point
    if scale >= 0 and point <= form.longest:
        return digits + "0" * scale + ".0"
    if 0 < point <= form.longest:
        return f"{digits[:point]}.{digits[point:]}"
    if -form.smallest < point <= 0:
        return "0." + "0" * -point + digits
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{rest}e{point - 1:+}"
