r"""One spelling for mathematics that is written in many: \frac34, signs of Unicode, 0.\overline{3}, 4.5e33.

The result has no whitespace that means nothing, no delimiters, and every argument in braces, so that the
parser of math-verify reads it as it was meant. What is not meant in one way alone (two numbers with a space
between, a slash before a product) is refused. Callers bound the length.
"""

import re
from fractions import Fraction

from corrpo.answers.words import plain_words


class UnreadableAnswerError(ValueError):
    """A text that is no mathematics, or not in one way alone."""


_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺"
_SUPERSCRIPT = re.compile(f"[{_SUPERSCRIPTS}]+")
_TO_DIGITS = str.maketrans(_SUPERSCRIPTS, "0123456789-+")
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("−–‐‑﹣-", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200a\u202f\t\n\r", " "),
        **dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060", ""),
        **dict.fromkeys("·⋅∙", "\\cdot "),
        **{"∅": "\\emptyset ", "×": "\\times ", "÷": "/", "±": "\\pm ", "∓": "\\mp ", "∞": "\\infty "},
        **{"∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "≈": "\\approx ", "≠": "\\ne ", "∧": "\\land "},
        **{"≡": "\\equiv ", "…": "\\ldots ", "∛": "\\sqrt[3]"},
        **{"≤": "\\le ", "⩽": "\\le ", "≥": "\\ge ", "⩾": "\\ge ", "⟨": "(", "⟩": ")"},
        **{
            "ℝ": "\\mathbb{R}",
            "ℤ": "\\mathbb{Z}",
            "ℕ": "\\mathbb{N}",
            "ℚ": "\\mathbb{Q}",
            "ℂ": "\\mathbb{C}",
        },
        **{"½": "\\frac{1}{2}", "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}"},
        **{"⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}", "％": "%", "，": ",", "（": "(", "）": ")"},
        **{"π": "\\pi ", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "λ": "\\lambda ", "φ": "\\phi "},
    }
)
_COMMANDS = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), "\\frac"),
    **dict.fromkeys(("dbinom", "tbinom"), "\\binom"),
    **dict.fromkeys(("leq", "leqslant", "leqq"), "\\le "),
    **dict.fromkeys(("geq", "geqslant", "geqq"), "\\ge "),
    **dict.fromkeys(("lvert", "rvert", "vert", "mid"), "|"),
    **dict.fromkeys(("left", "right", "mleft", "mright", "big", "Big", "bigl", "bigr", "Bigl", "Bigr"), ""),
    **dict.fromkeys(("displaystyle", "textstyle", "limits", "rm", "bf", "it", "boxed"), ""),
    **dict.fromkeys(("quad", "qquad", "enspace", "thinspace"), " "),
    **dict.fromkeys(("dots", "ldots", "cdots", "dotsc"), "\\ldots "),
    **dict.fromkeys(("phantom", "hphantom", "vphantom"), "?"),
    **dict.fromkeys(("langle", "lparen"), "("),
    **dict.fromkeys(("rangle", "rparen"), ")"),
    **{"lt": "<", "gt": ">", "neq": "\\ne ", "lbrace": "\\{", "rbrace": "\\}", "lbrack": "[", "rbrack": "]"},
    **{"varnothing": "\\emptyset ", "degree": "^\\circ ", "ast": "*", "div": "/", "colon": ":", "imath": "i"},
    **{"lor": ",", "vee": ",", "wedge": "\\land ", "backslash": "\\setminus ", "euro": "€", "pounds": "£"},
    **{"lg": "\\log_{10} ", "varphi": "\\phi ", "varepsilon": "\\epsilon "},
}
_COMMAND = re.compile(r"\\([A-Za-z]+)\s*(\.(?![0-9]))?")
_SPACE = re.compile(
    r"(?<!\\)\\[,;:> ]|\\!\s*|~|\\hspace\*?\{[^{}]*\}|\{\}(?=\^)|\\(?:text)?color\s*\{[A-Za-z]+\}"
)
_SPACES = re.compile(r"\s+")
_DELIMITER = re.compile(r"\\[()\[\]]|(?<!\\)\$+")
_MARKS = " \t\n.,;:`*_#"
_FONT = re.compile(r"\\(?:mathbf|boldsymbol|bm|mathit|mathnormal|underline)\s*\{([^{}]*)\}")
_TEXT_JOINT = re.compile(r"\\(?:text|mbox|textrm|mathrm)\s*\{\s*([:;,]?)\s*(or|and|)\s*([:;,]?)\s*\}")
_JOINT = re.compile(r"(?<![A-Za-z\\])\s*,?\s*\b(or|and)\b\s*(?![A-Za-z{]{3})")
_PERCENT = re.compile(
    r"\\%|\s*(?:\\text\s*\{\s*)?\b(?:percent|per cent|percentage|pct)\b\s*\}?", re.IGNORECASE
)
_E_NOTATION = re.compile(r"(?<![A-Za-z0-9.])([0-9]+\.?[0-9]*|\.[0-9]+)[eE]([+-]?[0-9]{1,9})(?![A-Za-z0-9.])")
_REPEATING = re.compile(
    r"(?<![0-9.])([0-9]{0,40})\.([0-9]{0,40})(?:\\(?:overline|bar|dot)\s*\{?([0-9]{1,40})\}?)"
)
_REPEATING_BRACKETS = re.compile(r"(?<![0-9.])([0-9]{0,40})\.()\(([0-9]{1,40})\)$")
_SPACED_GROUPS = re.compile(r"(?<![0-9.,])(?<![0-9] )([0-9]{1,3})((?: [0-9]{3})+)(?![0-9]| [0-9])")
_COMMA_GROUPS = re.compile(r"(?<![0-9.,])([0-9]{1,3})((?:,[0-9]{3})+)(?![0-9]|,[0-9])")
_MIXED = re.compile(r"(?<![0-9.}/^ ])([0-9]+) +([0-9]+) ?/ ?([0-9]+)(?![0-9.!^])")
_ROOT_SIGN = re.compile(r"√\s*([0-9]+(?:\.[0-9]+)?|[A-Za-z](?![A-Za-z]))|√")
_ROOT_NAME = re.compile(r"(?<![A-Za-z\\])sqrt\s*([0-9]+(?:\.[0-9]+)?(?![0-9]))")
_NAME = re.compile(
    r"(?<![A-Za-z\\])(sqrt|pi|theta|alpha|beta|arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|log|ln|exp|infinity|inf)"
    r"(?![A-Za-z])"
)
_IMAGINARY = re.compile(r"\\(?:mathrm|text|mathit|rm)\s*\{\s*i\s*\}|(?<![A-Za-z\\])i(?![A-Za-z])")
_MARKED_LETTER = re.compile(r"\\(?:text|mathrm|textbf|mbox|mathbf|textit)\s*\{\s*(\(?[A-Za-z]\)?)\s*\}")
_DEGREES_IN_FUNCTION = re.compile(r"(\\(?:sin|cos|tan|cot|sec|csc)\s*\(?\{?[0-9.]+)\s*\^\{?\s*\\circ\s*\}?")
_DEGREE = re.compile(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)")
_TWO_NUMBERS = re.compile(r"[0-9.](?: +| *\{)[0-9.]|%\s*[0-9]")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}]| +|.", re.DOTALL)
_ARITY = {"\\frac": 2, "\\binom": 2, "\\sqrt": 1, "\\overline": 1, "\\mathbb": 1, "\\vec": 1, "\\pmod": 1}
_MEANINGLESS_SPACE = re.compile(r"(\\[A-Za-z]+) +(?=[A-Za-z])| +")
_TIMES_TEN = re.compile(r"(?<=[0-9])\s*[xX]\s*(?=10\s*\^)")
_CHOOSE = re.compile(r"\{?\b(\w{1,20})\s*\\choose\s*(\w{1,20})\b\}?")
_MODULUS = re.compile(
    r"\(?\s*(?:\\(?:text|mathrm)\s*\{\s*\(?\s*mod\s*\}|\\[pb]?mod(?![a-z])|(?<![A-Za-z\\])mod(?![A-Za-z]))"
    r"\s*(\{[^{}]*\}|\w+)\s*\)?"
)
_DOUBTFUL = re.compile(
    r"[0-9]/[0-9.]+(?:[A-Za-z(]|\\(?![\\}]|(?:[lg]e|ne|in|cup|cap|pm|end|setminus|approx|ldots)(?![a-z])))"
    r"|!!|'|\?|\.\.|[^,;{(\[]\\ldots"
)


def without_marks(text: str) -> str:
    r"""The text of an answer without delimiters of mathematics, emphasis, and marks at its ends.

    >>> [without_marks(text) for text in ("$42$.", "**42**", r"\[x=5.\]", "`42`,", r"\$18.90")]
    ['42', '42', 'x=5', '42', '\\$18.90']
    """
    text = " ".join(_SPACE.sub(_plain_space, _DELIMITER.sub(" ", text)).split())
    before = None
    while before != text:
        before = text
        if re.match(r"\s*\.[0-9]", text):
            text = "0" + text.strip()
        else:
            text = text.lstrip(_MARKS) if text.endswith("..") else text.strip(_MARKS)
        if text.startswith("\\boxed"):
            text = _inside(text[6:].strip()) or text
    return text


def _inside(text: str) -> str | None:
    """What stands in the braces around the whole text."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if depth == 0 and place < len(text) - 1:
            return None
    return text[1:-1]


def latex_signs(text: str) -> str:
    r"""The text with commands of LaTeX for the signs of Unicode and plain spaces; degrees stay.

    >>> latex_signs("9π cm²"), latex_signs("√12 − 1")
    ('9\\pi  cm^{2}', '\\sqrt{12} - 1')
    """
    text = " ".join(_SPACE.sub(_plain_space, text.replace("{,}", ",")).split())
    text = _SUPERSCRIPT.sub(lambda signs: "^{" + signs.group().translate(_TO_DIGITS) + "}", text)
    return _ROOT_SIGN.sub(
        lambda sign: f"\\sqrt{{{sign[1]}}}" if sign[1] else "\\sqrt ", text.translate(_SIGNS)
    )


def one_notation(text: str) -> str:
    r"""Mathematics in the one spelling; see the module.

    Raises:
        UnreadableAnswerError: braces that do not close, a command without its arguments, or two meanings.

    >>> [one_notation(text) for text in (r"\dfrac34", "3√2", "5 000", "3 2/5", "4.5e33", "7 - 3 i")]
    ['\\frac{3}{4}', '3\\sqrt{2}', '5000', '(3+\\frac{2}{5})', '4.5\\times10^{33}', '7-3I']
    """
    text = latex_signs(text).replace("°", "^\\circ ")
    text = _SPACES.sub(" ", _COMMAND.sub(_renamed, text))
    text = _PERCENT.sub("%", _FONT.sub(r"\1", text))
    text = _joined(_CHOOSE.sub(r"\\binom{\1}{\2}", _TIMES_TEN.sub(r"\\times ", text.replace("**", "^"))))
    if "\\equiv" in text:
        text = _MODULUS.sub(r"\\pmod \1", text)
    text = text.replace("...", "\\ldots ").replace("\\mathbb{R}-\\{", "\\mathbb{R}\\setminus\\{")
    for plain, sign in (("<=", "\\le "), (">=", "\\ge "), ("!=", "\\ne "), ("==", "=")):
        text = text.replace(plain, sign)
    text = _IMAGINARY.sub("I", _MARKED_LETTER.sub(r"\1", text))
    text = _in_one_number(text)
    text = _ROOT_NAME.sub(r"\\sqrt{\1}", text)
    text = _NAME.sub(lambda name: f"\\{name[1].replace('infinity', 'inf').replace('inf', 'infty')} ", text)
    text = _DEGREE.sub("", _DEGREES_IN_FUNCTION.sub(r"\1 \\frac{\\pi}{180}", text))
    text = _with_arguments(_braced_brackets(text)).strip()
    if _TWO_NUMBERS.search(text):
        raise UnreadableAnswerError("two numbers stand side by side")
    text = _MEANINGLESS_SPACE.sub(lambda space: space[1] + " " if space[1] else "", text)
    if _DOUBTFUL.search(text):
        raise UnreadableAnswerError("it can be meant in more than one way")
    return text


def _plain_space(space: re.Match[str]) -> str:
    return "" if space.group().startswith(("\\!", "{")) else " "


def _renamed(command: re.Match[str]) -> str:
    name, dot = command.groups()
    replaced = _COMMANDS.get(name)
    if replaced is None:
        return command.group()
    return replaced + ("" if dot is None or name in ("left", "right") else dot)


def _joined(text: str) -> str:
    """With commas for "or" and "and", in which inequalities have no place together."""
    marked = _TEXT_JOINT.sub(lambda joint: joint[1] or joint[3] or f" {joint[2]} ", text)
    if re.search(r"\band\b|\\land", marked) and re.search(r"[<>]|\\[lg]e\b", marked):
        raise UnreadableAnswerError("inequalities joined by and")
    return _JOINT.sub(",", marked)


def _in_one_number(text: str) -> str:
    """With each number in one piece: grouped digits, powers of ten, mixed numbers, decimals that repeat."""
    text = _E_NOTATION.sub(lambda number: rf"{number[1]}\times 10^{{{int(number[2])}}}", text)
    text = _REPEATING.sub(_as_fraction, text)
    text = _REPEATING_BRACKETS.sub(_as_fraction, text)
    text = _SPACED_GROUPS.sub(lambda number: number[1] + number[2].replace(" ", ""), text)
    if not re.search(r"[(\[]|\\\{", text):
        text = _COMMA_GROUPS.sub(lambda number: number[1] + number[2].replace(",", ""), text)
    return _MIXED.sub(r"(\1+\\frac{\2}{\3})", text)


def _as_fraction(number: re.Match[str]) -> str:
    whole, start, cycle = number.groups()
    value = Fraction(int(whole + start or "0"), 10 ** len(start))
    value += Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(start))
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _braced_brackets(text: str) -> str:
    """With braces for the brackets around an exponent and what stands under a root."""
    partner: dict[int, int] = {}
    opened: list[int] = []
    for place, sign in enumerate(text):
        if sign == "(":
            opened.append(place)
        elif sign == ")" and opened:
            partner[opened.pop()] = place
    signs = list(text)
    for command in re.finditer(r"(?:\^|\\sqrt)\s*\(", text):
        start = command.end() - 1
        if start in partner:
            signs[start], signs[partner[start]] = "{", "}"
    return "".join(signs)


def _with_arguments(text: str) -> str:
    r"""With braces around every argument, as TeX takes them: one group, command or sign; read from the right.

    >>> _with_arguments(r"\frac1{\sqrt2}")
    '\\frac{1}{\\sqrt{2}}'
    """
    units: list[str] = []
    after_log = re.sub(r"(\\log)\s*_\s*([0-9A-Za-z])", r"\1_{\2}", text)
    for token in reversed(_TOKEN.findall(after_log)):
        if token == "{":
            units.append(_group(units))
        elif token in _ARITY:
            option = _option(units) if token == "\\sqrt" else ""
            units.append(token + option + "".join(_argument(units) for _ in range(_ARITY[token])))
        else:
            units.append(token)
    if "}" in units:
        raise UnreadableAnswerError("a brace is not opened")
    return "".join(reversed(units))


def _group(units: list[str]) -> str:
    content = []
    while units:
        unit = units.pop()
        if unit == "}":
            return "{" + "".join(content) + "}"
        content.append(unit)
    raise UnreadableAnswerError("a brace is not closed")


def _option(units: list[str]) -> str:
    """The index of a root, in its square brackets."""
    while units and units[-1].isspace():
        units.pop()
    if not units or units[-1] != "[":
        return ""
    option = ""
    while units:
        option += units.pop()
        if option.endswith("]"):
            return option
    raise UnreadableAnswerError("a bracket is not closed")


def _argument(units: list[str]) -> str:
    while units and units[-1].isspace():
        units.pop()
    if not units or units[-1] in ("}", "+", "-", "=", ",", ")", "]"):
        raise UnreadableAnswerError("a command lacks its argument")
    unit = units.pop()
    return unit if unit.startswith("{") else "{" + unit + "}"


def is_wellformed(text: str) -> bool:
    r"""Whether a text has something to say and its braces close.

    >>> is_wellformed(r"\mathcal{O}(n)"), is_wellformed(r"\frac{"), is_wellformed("?")
    (True, False, False)
    """
    depth = 0
    for sign in re.findall(r"\\.|[{}]", text, re.DOTALL):
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    return depth == 0 and any(sign.isalnum() for sign in plain_words(text))
