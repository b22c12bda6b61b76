"""Words that mean mathematics: units, currencies, number words, and answers such as `no solution`."""

from __future__ import annotations

import re
from fractions import Fraction

# name: (dimension, size in the dimension's first unit). Facts of the SI and of US customary units.
_LENGTH: dict[str, int | str] = {
    "nm": "1/1000000000", "mm": "1/1000", "cm": "1/100", "dm": "1/10", "m": 1, "km": 1000,
    "in": "0.0254", "ft": "0.3048", "yd": "0.9144", "mi": "1609.344",
}  # fmt: skip
_MASS: dict[str, int | str] = {
    "mg": "1/1000000",
    "g": "1/1000",
    "kg": 1,
    "lb": "0.45359237",
    "oz": "0.028349523125",
    "t": 1000,
}
_TIME: dict[str, int | str] = {"ms": "1/1000", "s": 1, "min": 60, "h": 3600, "day": 86400, "week": 604800}
_MONEY: dict[str, int | str] = {"usd": 1, "cent": "1/100"}
_VOLUME: dict[str, int | str] = {"l": 1, "ml": "1/1000"}
SIZES: dict[str, tuple[str, Fraction]] = {}
_DIMENSIONS: dict[str, dict[str, int | str]] = {
    "length": _LENGTH,
    "mass": _MASS,
    "time": _TIME,
    "money": _MONEY,
    "volume": _VOLUME,
}
for _dimension, _units in _DIMENSIONS.items():
    for _name, _size in _units.items():
        SIZES[_name] = (_dimension, Fraction(_size))

_SYNONYMS = {
    "mm": "millimeter millimeters millimetre millimetres", "cm": "centimeter centimeters centimetre centimetres cms",
    "dm": "decimeter decimeters", "m": "meter meters metre metres", "km": "kilometer kilometers kilometre kilometres kms",
    "in": "inch inches", "ft": "foot feet", "yd": "yard yards yds", "mi": "mile miles", "nm": "nanometer nanometers",
    "mg": "milligram milligrams", "g": "gram grams", "kg": "kilogram kilograms kgs kilo kilos",
    "lb": "pound pounds lbs", "oz": "ounce ounces", "t": "ton tons tonne tonnes", "ms": "millisecond milliseconds",
    "s": "second seconds sec secs", "min": "minute minutes mins", "h": "hour hours hr hrs", "day": "days",
    "week": "weeks wk wks", "year": "years yr yrs", "month": "months", "usd": "dollar dollars bucks USD",
    "cent": "cents", "eur": "euro euros EUR", "gbp": "GBP", "yuan": "RMB CNY", "inr": "rupee rupees Rs",
    "yen": "JPY", "l": "L liter liters litre litres", "ml": "mL milliliter milliliters", "mph": "",
    "kmh": "kph", "deg": "degree degrees", "rad": "radian radians", "unit": "units", "percent": "pct percentage",
    "gal": "gallon gallons", "pint": "pints", "quart": "quarts", "cup": "cups", "N": "newton newtons", "J": "joule joules",
    "W": "watt watts", "Hz": "hertz", "Pa": "pascal pascals", "K": "kelvin", "V": "volt volts", "eV": "", "mol": "moles mole",
    "people": "persons person", "kN": "", "kJ": "", "kW": "", "MHz": "", "GHz": "", "kHz": "", "rpm": "", "ohm": "ohms",
}  # fmt: skip
UNITS: dict[str, str] = {}
for _canonical, _others in _SYNONYMS.items():
    UNITS[_canonical] = _canonical
    for _other in _others.split():
        UNITS[_other] = _canonical

# Abbreviations that are letters of algebra as often as units: a unit only if written as words (\text{m}) or after a blank.
AMBIGUOUS = frozenset({"m", "g", "s", "h", "l", "t", "L", "N", "J", "W", "K", "V", "in", "mi", "C", "F"})

MEANINGS = {
    "infinitely many": "inf", "infinite": "inf", "infinity": "inf", "infinitely many solutions": "inf",
    "infinite solutions": "inf", "an infinite number": "inf", "positive infinity": "inf",
    "no solution": "empty", "no solutions": "empty", "empty set": "empty", "the empty set": "empty", "none": "empty",
    "no real solution": "empty", "no real solutions": "empty", "there is no solution": "empty",
    "there are no solutions": "empty", "no such values": "empty", "null set": "empty",
    "dne": "dne", "does not exist": "dne", "undefined": "dne", "the limit does not exist": "dne", "doesn't exist": "dne",
    "limit does not exist": "dne", "not defined": "dne", "divergent": "diverges", "the series diverges": "diverges",
    "diverges": "diverges", "convergent": "converges", "converges": "converges", "the series converges": "converges",
    "all real numbers": "reals", "all reals": "reals", "real numbers": "reals", "the real numbers": "reals",
    "all real x": "reals", "any real number": "reals",
}  # fmt: skip

_ONES = {word: value for value, word in enumerate(
    str.split("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"))}  # fmt: skip
_TENS = {
    word: 10 * value for value, word in enumerate(str.split("twenty thirty forty fifty sixty seventy eighty ninety"), 2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_FRACTIONS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
              "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10}  # fmt: skip
_WORD = re.compile(r"[a-z']+")
SCALES = _SCALES


def number_words(text: str) -> Fraction | None:
    """The number that English words say, `twenty-one` or `two thirds`; None if they say something else."""
    words = _WORD.findall(text.lower())
    if not words or len(words) > 20 or len(text) > 200:
        return None
    sign = 1
    if words[0] in ("negative", "minus"):
        sign, words = -1, words[1:]
    if words and words[0] in ("a", "an") and len(words) > 1:
        words = ["one", *words[1:]]
    if words and words[-1] in _FRACTIONS and (len(words) > 1 or words[-1] == "half"):
        top = _whole(words[:-1]) if len(words) > 1 else 1
        return None if top is None else Fraction(sign * top, _FRACTIONS[words[-1]])
    whole = _whole(words)
    return None if whole is None else Fraction(sign * whole)


def _whole(words: list[str]) -> int | None:
    total, current, seen = 0, 0, False
    for word in words:
        if word in _ONES:
            current += _ONES[word]
        elif word in _TENS:
            current += _TENS[word]
        elif word == "hundred" and current:
            current *= 100
        elif word in _SCALES and current:
            total, current = total + current * _SCALES[word], 0
        elif word == "and" and seen:
            continue
        else:
            return None
        seen = True
    return total + current if seen else None


_MARKUP = re.compile(
    r"\\(?:text|textbf|mathrm|mbox|textit|textnormal|mathbf|operatorname|textrm)\s*(?=\{)|\\(?:quad|qquad|[,;:! ])|[${}*`\"\\~_]"
)
_PUNCTUATION = re.compile(r"[^\w<>=+\-*/^()\[\]|%]+")
_ARTICLES = re.compile(r"(?:the|an?) ")


def normal_text(text: str) -> str:
    """Words to compare: no markup, no punctuation, lower case, no leading article."""
    text = _MARKUP.sub(" ", text).lower().replace("'", "")
    text = _PUNCTUATION.sub(" ", text).strip()
    article = _ARTICLES.match(text)
    return text[article.end() :] if article else text
