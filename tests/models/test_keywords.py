"""Settings of a dataclass as keywords of a function."""

import inspect
from dataclasses import dataclass

import pytest

from corrpo.errors import BadInputError
from corrpo.models.keywords import field_meanings, keywords_of, narrow


@dataclass(frozen=True, kw_only=True)
class Size:
    """A size."""

    width: int = 3
    """How wide it is,
    in metres."""
    depth: float | None = None
    """How deep."""

    def __post_init__(self) -> None:
        if self.width < 0:
            raise BadInputError(f"width={self.width}: expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class Box(Size):
    """A size with a name."""

    name: str
    """What it is called."""
    undescribed: bool = False


@keywords_of(Box)
def packed(first: int, second: int, box: Box) -> tuple[int, int, Box]:
    """Pack a box."""
    return first, second, box


class Shelf:
    @keywords_of(Size)
    def __init__(self, height: int, size: Size):
        """A shelf."""
        self.area = height * size.width


def test_keywords_are_the_fields_and_positional_parameters_keep_their_names():
    assert packed(1, 2, name="a", width=4) == (1, 2, Box(width=4, name="a"))
    assert packed(second=2, name="a", first=1) == (1, 2, Box(name="a"))  # pyright: ignore
    assert Shelf(2, width=5).area == 10


def test_signature_and_help_show_every_keyword():
    assert str(inspect.signature(packed)) == (
        "(first: int, second: int, *, width: int = 3, depth: float | None = None, name: str, "
        "undescribed: bool = False) -> tuple[int, int, tests.models.test_keywords.Box]"
    ).replace("tests.models.test_keywords.", f"{__name__}.")
    assert packed.__doc__ == (
        "Pack a box.\n\nKeywords:\n    width (default 3): How wide it is, in metres.\n"
        "    depth (default None): How deep.\n    name (needed): What it is called.\n"
        "    undescribed (default False):"
    )
    assert packed.__name__ == "packed"
    assert field_meanings(Box) == {
        "width": "How wide it is, in metres.",
        "depth": "How deep.",
        "name": "What it is called.",
    }


def test_wrong_calls():
    with pytest.raises(BadInputError, match=r"packed has no option 'widht'; .*; did you mean width\?"):
        packed(1, 2, name="a", widht=4)  # pyright: ignore
    with pytest.raises(BadInputError, match="Shelf has no option 'zzz'; it has width, depth$"):
        Shelf(1, zzz=4)  # pyright: ignore
    with pytest.raises(BadInputError, match="width=-1: expected 0 or more"):
        packed(1, 2, name="a", width=-1)
    with pytest.raises(TypeError, match="missing a required.* argument: 'name'"):
        packed(1, 2)  # pyright: ignore
    with pytest.raises(TypeError, match="too many positional arguments"):
        packed(1, 2, 3, name="a")  # pyright: ignore


def test_the_part_of_a_base_class():
    assert narrow(Box(name="a", width=7), Size) == Size(width=7)
    assert type(narrow(Box(name="a"), Size)) is Size
