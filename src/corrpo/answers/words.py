"""Words in answers: answers in words, the phrase before an answer, and letters of multiple choice."""

import re

_WORD = r"[^\W\d_]+(?:['’-][^\W\d_]+)*"
_WORDS = re.compile(rf"\(?{_WORD}(?:[\s,/&]+{_WORD})*\)?")
MARKED = re.compile(
    r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mbox|mathrm|mathbf|mathsf|operatorname)\s*\{([^{}]*)\}"
)
_NAMES = re.compile(
    r"sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|log|ln|exp|sqrt|max|min|"
    r"gcd|lcm|pi|inf|infinity|alpha|beta|gamma|delta|theta|lambda|sigma|omega"
)
_SHORT_WORDS = frozenset({"no", "up", "on", "in", "by", "ok"})
_ARTICLE = re.compile(r"(?:the|an|a) (?=\w{3})")
_OPENING = re.compile(
    r"(?:(?:so|thus|hence|therefore|then|finally)\b[,:]?\s*)?"
    r"(?:[A-Za-z][A-Za-z' ]{0,60}?\b(?:is|are|equals|has|have|gets?|gives|costs?|totals)\b(?: equal to\b)?"
    r"|(?:the\s+|my\s+)?(?:(?:final|correct|right)\s+)?(?:answer|result|solution|value|total|sum|area|volume|perimeter|"
    r"length|width|height|radius|angle|distance|speed|probability|number|cost|profit|average|mean|median)\b)?\s*[:=]?\s*",
    re.IGNORECASE,
)
_DENIAL = re.compile(r"\b(?:not|no|none|never|neither|nor|if|unless|or|but)\b|n't", re.IGNORECASE)
_CHOICE = re.compile(r"(?:(?i:option|choice|answer)\s+)?\(?([A-J])\)?")
_CHOICE_AND_TEXT = re.compile(
    r"(?:(?i:option|choice)\s+)?(?:\(([A-J])\)|([A-J])[.):])\s*(?=\S)(.*)", re.DOTALL
)
_OTHER_CHOICE = re.compile(
    r"\([A-J]\)|(?<![\w\\])[B-HJ](?!\w)|\b(?:or|and)\b"
    r"|^(?:(?:is|isn't|was)\b|(?:wrong|incorrect|not(?: this| that| it| right| correct)?)\W*$)"
)


def plain_words(text: str) -> str:
    r"""The text with \text{...} and its like opened.

    >>> plain_words(r"\text{an ellipse}")
    'an ellipse'
    """
    return MARKED.sub(r"\1", text)


def is_name(word: str) -> bool:
    """Whether a word names a function or letter of mathematics."""
    return _NAMES.fullmatch(word) is not None


def read_words(text: str) -> str | None:
    r"""An answer in words in one canonical spelling, or None for anything else.

    Case, an article in front and the whitespace between do not count. Single letters and names of functions
    are mathematics, not words, unless \text{...} holds them.

    >>> read_words(r"\text{an Ellipse}"), read_words("New  York"), read_words("xy"), read_words("2 pi")
    ('ellipse', 'new york', None, None)
    >>> read_words("mgh"), read_words("yes")
    (None, 'yes')
    """
    opened = " ".join(plain_words(text).split()).rstrip(".!")
    if _WORDS.fullmatch(opened) is None:
        return None
    words = re.findall(_WORD, opened)
    if len(words) == 1 and re.fullmatch("[b-df-hj-np-tv-xz]{3}", text):
        return None
    is_marked = "\\" in text and any(len(word) > 1 for word in words)
    long = [
        word
        for word in words
        if any(len(part) > 2 for part in re.split("[-’']", word)) or word.lower() in _SHORT_WORDS
    ]
    if not is_marked and (not long or any(is_name(word) for word in words)):
        return None
    return _ARTICLE.sub("", opened.strip("()").casefold(), count=1)


def without_opening(text: str) -> str:
    r"""The text without a phrase like "The answer is" in front; one that denies stays.

    >>> without_opening("So the final answer is: 42"), without_opening(r"\text{It is } 5")
    ('42', '5')
    >>> without_opening("It never is 5")
    'It never is 5'
    """
    opened = plain_words(text) if text.startswith("\\text") else text
    opening = _OPENING.match(opened)
    if opening is None or opening.end() in (0, len(opened)) or _DENIAL.search(opening.group()):
        return text
    return opened[opening.end() :]


def choice_letter(text: str) -> str | None:
    r"""The letter of a multiple-choice answer, brackets and \text{...} taken off, or None.

    >>> choice_letter(r"\text{(B)}"), choice_letter("B"), choice_letter("b"), choice_letter("AB")
    ('B', 'B', None, None)
    """
    letter = _CHOICE.fullmatch(plain_words(text).strip().rstrip("."))
    return letter[1] if letter else None


def chosen_letter(text: str) -> str | None:
    """The letter that an answer chooses, the text of the option behind it or not; None where it names two.

    >>> chosen_letter("(B) 5 apples"), chosen_letter("C. Paris"), chosen_letter("(A) or (B)")
    ('B', 'C', None)
    """
    opened = plain_words(text).strip()
    choice = _CHOICE_AND_TEXT.fullmatch(opened)
    if choice is None:
        return choice_letter(opened)
    return None if _OTHER_CHOICE.search(choice[3]) else choice[1] or choice[2]
