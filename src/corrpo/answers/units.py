"""Units and other words behind a number: "6 cm", "3 apples"."""

import re

from corrpo.answers.words import is_name, plain_words

_UNITS = {
    "metre": "m meter meters metre metres",
    "kilometre": "km kilometer kilometers kilometre kilometres",
    "centimetre": "cm centimeter centimeters centimetre centimetres",
    "millimetre": "mm millimeter millimeters millimetre millimetres",
    "nanometre": "nm nanometer nanometers",
    "inch": "in inch inches",
    "foot": "ft foot feet",
    "yard": "yd yard yards",
    "mile": "mi mile miles",
    "second": "s sec secs second seconds",
    "millisecond": "ms millisecond milliseconds",
    "minute": "min mins minute minutes",
    "hour": "h hr hrs hour hours",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "yr yrs year years",
    "gram": "g gram grams",
    "kilogram": "kg kilogram kilograms",
    "milligram": "mg milligram milligrams",
    "pound": "lb lbs pound pounds",
    "ounce": "oz ounce ounces",
    "litre": "l L liter liters litre litres",
    "millilitre": "ml mL milliliter milliliters",
    "degree": "° degree degrees deg",
    "celsius": "°C",
    "fahrenheit": "°F",
    "radian": "rad radian radians",
    "dollar": "\\$ dollar dollars USD usd",
    "cent": "¢ cent cents",
    "euro": "€ euro euros EUR",
    "sterling": "£ GBP",
    "joule": "J joule joules",
    "kilojoule": "kJ",
    "newton": "N newton newtons",
    "watt": "W watt watts",
    "volt": "V volt volts",
    "kelvin": "K kelvin",
    "pascal": "Pa",
    "hertz": "Hz hertz",
    "mole": "mol moles",
    "electronvolt": "eV",
    "mph": "mph",
    "erg": "erg ergs",
    "angstrom": "Å angstrom angstroms",
    "am": "am AM",
    "pm": "pm PM",
    "unit": "unit units",
}
_UNIT_NAMES = {spelling: name for name, spellings in _UNITS.items() for spelling in spellings.split()}
_NOT_UNITS = re.compile(
    r"(?i)\b(?:not|no|never|isn't|isnt|none|or|and|nor|but|less|more|fewer|greater|smaller|larger|"
    r"than|between|at|least|most|over|under|above|below|about|to|plus|minus|times|half|"
    r"quarter|third|hundred|thousand|million|billion|trillion|dozen|squared|cubed|root|"
    r"power|except|without|unless|maybe|perhaps|either|another|other|otherwise|if|is|are|"
    r"was|when|where|with|mod|modulo|remainder|negative|percent|percentage|pct|divided|multiplied|too|short|"
    r"ignor\w+|exclud\w+|omit\w+|neglect\w+|wrong|incorrect|false|off|negated|inverse|reciprocal|factorial|"
    r"instead|rather|dozens|score|gross|grand|lakhs?|crores?|fold|halves|thirds|"
    r"(?:four|fif|six|seven|eigh|nin|ten|twelf|hundred|thousand|million)ths?|hundreds|thousands|\w+illions|"
    r"perchance|possibl[ye]|apart|choose|missing|from|after|before|"
    r"increase|decrease|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?!daily|weekly|monthly|yearly|hourly|family)\w+ly)\b"
)
_DEGREES = re.compile(r"(?<=[0-9])\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)\s*([CF]?)\s*$")
_ANGLE_FUNCTION = re.compile(r"(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_MULTIPLES = frozenset({"k", "M", "B", "T", "bn", "mn", "mil"})
_HALF_OF_DAY = re.compile(r"(?<=[0-9 ])([apAP])\.? ?([mM])\b\.?$")
_MEASURES = frozenset({"square", "sq", "cubic", "cu", "per"})
_FACTOR = r"(?:square |sq\.? |cubic |cu\.? )?[A-Za-z°€£¢]+(?:\^\{?-?[0-9]\}?)?"
_UNIT = re.compile(rf"{_FACTOR}(?:\s*(?:/|\\cdot|\*|\s|\bper\b)\s*{_FACTOR}){{0,6}}\.?")
_UNIT_WORD = re.compile(r"[A-Za-z°€£¢]+")
_SPLIT = re.compile(
    r"(.*?[0-9)}!%]|.*?(?<![A-Za-z])i|.*?\\pi)"
    r"(\s*)"
    r"((?![eE][+-]?[0-9])(?:\\(?:text|mathrm|mbox|rm)\s*)?\{?\s*[A-Za-z°€£¢][A-Za-z°€£¢ /*.'^0-9{}\\-]*)",
    re.DOTALL,
)


def split_unit(text: str) -> tuple[str, str | None, bool]:
    r"""A quantity as its number, its unit, and whether the unit may as well be a variable.

    The unit is canonical for known ones, else the words as they are; None without one. Words that could
    change the number (not, less, or, hundred ...) are no unit.

    >>> split_unit(r"6\text{ cm}^2"), split_unit("3 apples"), split_unit("3 or 4"), split_unit("5 m")
    (('6', 'centimetre^2', False), ('3', 'apples', False), ('3 or 4', None, False), ('5', 'metre', True))
    """
    text = _DEGREES.sub(r"°\1", _HALF_OF_DAY.sub(r"\1\2", text))
    quantity = _SPLIT.fullmatch(text)
    if quantity is None:
        return text, None, False
    number, space, rest = quantity.groups()
    is_marked = rest.startswith("\\")
    unit = plain_words(rest).strip() if is_marked else rest.strip()
    words = _UNIT_WORD.findall(unit)
    is_known = all(map(_is_known, words))
    is_named = is_marked and all(_is_known(word) or (len(word) > 1 and not is_name(word)) for word in words)
    is_prose = bool(space) and len(words[0]) > 2 and not any(map(is_name, words))
    if (
        unit in ("i", "e")
        or not _UNIT.fullmatch(unit)
        or _NOT_UNITS.search(unit)
        or not _MULTIPLES.isdisjoint(words)
        or _MEASURES.issuperset(words)
        or (words == ["°"] and _ANGLE_FUNCTION.search(number))
        or not (is_known or is_named or is_prose)
    ):
        return text, None, False
    is_letter = not is_marked and re.fullmatch("[A-Za-z]", unit) is not None
    if is_letter and not space:
        return text, None, False
    return number, _canonical_unit(unit) if is_known else unit, is_letter


def currency_unit(sign: str) -> str | None:
    r"""The unit that a sign before a number stands for, None for an unknown one.

    >>> currency_unit(r"\$"), currency_unit("€"), currency_unit("¥")
    ('dollar', 'euro', None)
    """
    return _UNIT_NAMES.get(sign.replace("\\", "").replace("$", "\\$"))


def _is_known(word: str) -> bool:
    return word in _UNIT_NAMES or word in _MEASURES


def _canonical_unit(unit: str) -> str:
    unit = re.sub(r"(?:square|sq\.?) ([A-Za-z]+)", r"\1^2", unit)
    unit = re.sub(r"(?:cubic|cu\.?) ([A-Za-z]+)", r"\1^3", unit)
    unit = _UNIT_WORD.sub(lambda word: _UNIT_NAMES.get(word.group(), word.group()), unit)
    unit = re.sub(r"\s*\bper\b\s*", "/", unit).replace("\\cdot", "*")
    return re.sub(r"\s*([/*])\s*|\s+", lambda sign: sign[1] or "*", re.sub(r"[{}.]", "", unit))


def different_units(one: str | None, other: str | None) -> bool:
    """Whether both are known units and not the same.

    >>> different_units("metre", "centimetre"), different_units("metre", None)
    (True, False)
    """
    if one is None or other is None or one == other:
        return False
    known = {name for name in _UNITS if name != "unit"}
    return all(set(re.findall(r"[a-z]+", unit)) <= known for unit in (one, other))
