"""Plain English-like text from a small grammar: what the lab's base models are pretrained on.

A document is a short scene. Its person, place and thing are drawn once and come back in later
sentences, so a model can learn both frequent words and references over a distance.
"""

from __future__ import annotations

import random
import re
from functools import partial


def _words(text: str, separator: str | None = None) -> tuple[str, ...]:
    """The words of a text, or its parts between separators."""
    return tuple(text.split(separator))


PEOPLE = _words(
    "baker farmer sailor teacher doctor painter miller tailor hunter gardener soldier singer widow child "
    "merchant carpenter fisherman student shepherd neighbor stranger captain nurse clerk poet blacksmith"
)
NAMES = _words(
    "Anna Tom Mary Peter Lucy Hans Clara Otto Ruth Paul Ella Max Nora Karl Ida Ben"
)  # she and he in turn
THINGS = _words(
    "lamp boat letter basket coat wagon clock kettle ladder mirror drum bottle ring book map bell chair "
    "apple coin candle blanket spoon painting stone flute cup hammer rope saddle key"
)
PLACES = _words(
    "garden market village harbor forest kitchen river mill church bridge field valley tower cellar "
    "school barn square station island mountain"
)
ANIMALS = _words("dog cat horse goose fox owl goat mouse crow sheep")
ADJECTIVES = _words(
    "old small quiet red heavy bright cold broken lonely green tall strange empty gentle dark young warm "
    "tired clever wooden golden narrow dusty proud pale hungry"
)
ACTIONS = _words(
    "carried found lost sold hid repaired cleaned painted bought dropped wanted watched remembered "
    "polished borrowed kept"
)
MOTIONS = _words("walked ran went hurried wandered returned climbed rode came drifted")
ADVERBS = _words("slowly quickly quietly often never always gladly sadly suddenly again alone early")
TIMES = _words(
    "In the morning|At night|One day|After the storm|Before dawn|Every winter|In the summer|Last week|"
    "Long ago|On Sunday|When the rain stopped|Later",
    "|",
)
FEELINGS = _words("happy afraid angry tired proud sorry glad hungry calm lonely curious")
WEATHER = _words("rain snow wind sun fog thunder frost")


def _common(rng: random.Random, words: tuple[str, ...]) -> str:
    """A word, the earlier ones in the list more often, as word frequencies fall in real text."""
    return words[int(len(words) * rng.random() ** 1.7)]


class Scene:
    """The person, place, thing and animal that one document is about."""

    def __init__(self, rng: random.Random, *, thing: str | None = None, place: str | None = None) -> None:
        self.rng = rng
        named = rng.random() < 0.4
        self.person = _common(rng, NAMES) if named else f"the {self._described(_common(rng, PEOPLE))}"
        self.pronoun = ("she", "he")[NAMES.index(self.person) % 2 if named else rng.randrange(2)]
        self.place = place or _common(rng, PLACES)
        self.thing = thing or _common(rng, THINGS)
        self.animal = _common(rng, ANIMALS)

    def _described(self, noun: str, chance: float = 0.4) -> str:
        """A noun, sometimes with an adjective in front."""
        return f"{_common(self.rng, ADJECTIVES)} {noun}" if self.rng.random() < chance else noun

    def _clauses(self, who: str) -> tuple[str, ...]:
        """Everything that can be said next about `who`, each once."""
        word = partial(_common, self.rng)
        amount = self.rng.choice(("two", "three", "four", "many", "no"))
        other = self._described(word(PEOPLE), 0.2)
        return (
            f"{who} {word(MOTIONS)} to the {self.place}",
            f"{who} {word(ACTIONS)} the {self._described(self.thing)}",
            f"{who} {word(ADVERBS)} {word(ACTIONS)} the {self.thing} at the {self.place}",
            f"{who} was {word(FEELINGS)} because the {self.thing} was {word(ADJECTIVES)}",
            f"the {self._described(self.animal)} {word(MOTIONS)} {word(ADVERBS)} near the {self.place}",
            f"{who} had {amount} {word(THINGS)}s and a {self.animal}",
            f"the {word(WEATHER)} came over the {self.place} and {who} {word(MOTIONS)} home",
            f'{who} said, "the {self.thing} is {word(ADJECTIVES)}"',
            f"a {other} {word(ACTIONS)} the {self.thing} and {who} was {word(FEELINGS)}",
            f"there was a {self._described(self.animal)} at the {self.place}",
        )

    def sentence(self, *, opening: bool) -> str:
        """One sentence; an opening one names the person, a later one may use the pronoun."""
        rng = self.rng
        who = self.person if opening or rng.random() < 0.3 else self.pronoun
        clause = rng.choice(self._clauses(who))
        if rng.random() < 0.2:
            clause += f", but the {rng.choice((self.animal, self.thing))} was {_common(rng, ADJECTIVES)}"
        if rng.random() < 0.35:
            return f"{_common(rng, TIMES)} {clause}."
        return f"{clause[0].upper()}{clause[1:]}."


def document(rng: random.Random, *, thing: str | None = None, place: str | None = None) -> str:
    """Two or three sentences about one scene, some 40 to 200 characters.

    >>> document(random.Random(1))
    'Nora walked to the tower. The goose rode slowly near the tower.'
    """
    scene = Scene(rng, thing=thing, place=place)
    count = rng.choice((2, 2, 3))
    text = " ".join(scene.sentence(opening=index == 0) for index in range(count))
    text = re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)
    return text[:200].rsplit(".", 1)[0] + "."


def opening(rng: random.Random) -> str:
    """The first sentence of a document and the first word of the next one: a text to be continued.

    >>> opening(random.Random(2))
    'The old clerk early borrowed the bell at the valley. She'
    """
    first, rest = document(rng).split(". ", 1)
    return f"{first}. {rest.split(' ', 1)[0]}"
