"""Floats as Go's strconv writes them: shortest digits that read back, or a given precision."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal

# A float64 has up to 1,075 decimal digits; printf's precision may ask for more of them.
_WIDE = Context(prec=4000, Emin=-9999, Emax=9999)
_MOST_DIGITS = 1_100


def format_float(value: float, verb: str, precision: int = -1) -> str:  # noqa: PLR0911 a table of verbs
    """strconv.FormatFloat for b, e, E, f, g, G, x and X. `precision` -1 is the shortest form."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    shortest = precision < 0
    if verb in "bxX":
        return sign + _binary(abs(value), verb, precision)
    digits, point = _digits(abs(value), verb, precision)
    if verb in "eE":
        return sign + _exponent(digits, point, verb, max(len(digits) - 1, 0) if shortest else precision)
    if verb == "f":
        return sign + _plain(digits, point, max(len(digits) - point, 0) if shortest else precision)
    limit = 6 if shortest else max(precision, 1)
    if limit > len(digits) >= point:
        limit = len(digits)
    if shortest:
        limit = 6
    if not -4 <= point - 1 < limit:
        count = len(digits) if shortest or precision > len(digits) else max(precision, 1)
        return sign + _exponent(digits, point, "E" if verb == "G" else "e", count - 1)
    return sign + _plain(digits, point, max(len(digits) - point, 0))


def json_float(value: float) -> str:
    """As encoding/json: plain, but with an exponent outside 1e-6 to 1e21; `e-09` becomes `e-9`."""
    size = abs(value)
    if size != 0 and (size < 1e-6 or size >= 1e21):
        text = format_float(value, "e")
        return text[:-2] + text[-1] if text[-4:-1] == "e-0" else text
    return format_float(value, "f")


def _binary(value: float, verb: str, precision: int) -> str:
    """Powers of two: a whole mantissa for b, a hexadecimal fraction for x."""
    fraction, exponent = math.frexp(value)
    if verb == "b":
        return f"{int(fraction * 2**53)}p{exponent - 53:+d}" if value else "0p-1074"
    mantissa, power = (int(fraction * 2**53), exponent - 1) if value else (0, 0)
    if 0 <= precision < 13:
        unit = 1 << (52 - 4 * precision)
        below = mantissa % unit
        mantissa += unit - below if 2 * below > unit - (mantissa // unit) % 2 else -below
        if mantissa >> 53:
            mantissa, power = mantissa >> 1, power + 1
    digits = f"{mantissa & (1 << 52) - 1:013x}"
    digits = digits.rstrip("0") if precision < 0 else digits[:precision].ljust(precision, "0")
    text = f"0x{mantissa >> 52}{'.' + digits if digits else ''}p{'-' if power < 0 else '+'}{abs(power):02d}"
    return text.upper() if verb == "X" else text


def _digits(value: float, verb: str, precision: int) -> tuple[str, int]:
    """(significant digits without trailing zeros, position of the decimal point): 0.0012 is ("12", -2)."""
    if value == 0:
        return "", 0
    number = Decimal(value) if precision >= 0 else Decimal(repr(value))
    if precision >= 0:
        precision = min(precision, _MOST_DIGITS)  # whoever pads knows the real one
        places = precision if verb == "f" else precision + (verb in "eE") - number.adjusted() - 1
        if verb in "gG" and precision == 0:
            places += 1
        number = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN, _WIDE)
    if number == 0:
        return "", 0
    _, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    point = len(text) + int(exponent)
    return text.rstrip("0"), point


def _exponent(digits: str, point: int, letter: str, places: int) -> str:
    padded = digits.ljust(places + 1, "0")
    exponent = point - 1 if digits else 0
    body = padded[0] + ("." + padded[1 : places + 1] if places > 0 else "")
    return f"{body}{letter}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _plain(digits: str, point: int, places: int) -> str:
    whole = digits[:point].ljust(point, "0") if point > 0 else "0"
    if places <= 0:
        return whole
    fraction = ("0" * -point + digits if point <= 0 else digits[point:]).ljust(places, "0")
    return f"{whole}.{fraction[:places]}"
