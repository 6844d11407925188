"""Whether two answers are one, by their structure; single expressions are compared by whoever can.

The relation is symmetric. It is transitive but for decimals that stand for a number they round, and percent
signs, which one of two may leave out.
"""

from collections.abc import Callable, Sequence

from corrpo.answers.numerals import bare_percent, read_numeral, same_number
from corrpo.answers.structure import (
    Assignment,
    Chain,
    Collection,
    Interval,
    Leaf,
    Node,
    Ordered,
    Reading,
    Relation,
    Words,
)
from corrpo.answers.units import different_units

SameLeaf = Callable[[Leaf, Leaf], bool]
SameRelation = Callable[[Relation, Relation], bool]
MOST_ITEMS = 200
"""Items of a list beyond which it is equal to nothing but itself."""


class MathematicsNeededError(Exception):
    """Text alone cannot tell whether two expressions are equal."""


class UnevaluatedError(MathematicsNeededError):
    """Nothing can tell: an expression that is no number and no formula to the parser."""


def same_reading(wanted: Reading, found: Reading, same_leaf: SameLeaf, same_relation: SameRelation) -> bool:
    """Whether an answer is the right one: their units do not differ, and what they consist of is equal.

    A unit on one side alone counts for nothing; one that may be a variable is tried as one as well.

    Raises:
        MathematicsNeededError: raised by `same_leaf` or `same_relation`.
    """
    compare = _Comparison(same_leaf, same_relation)
    if not different_units(wanted.unit, found.unit) and compare.same(wanted.node, found.node):
        return True
    return any(
        one is not None and other is not None and compare.same(one, other)
        for one, other in ((wanted.with_unit, found.node), (wanted.node, found.with_unit))
    )


class _Comparison:
    """Comparison of nodes, given the comparison of what is no text."""

    def __init__(self, same_leaf: SameLeaf, same_relation: SameRelation):
        self.same_leaf = same_leaf
        self.same_relation = same_relation

    def same(self, one: Node, other: Node) -> bool:
        """Whether two nodes are equal, in either order."""
        if one == other:
            return True
        if isinstance(one, Words) or isinstance(other, Words):
            return False
        if isinstance(one, Chain) or isinstance(other, Chain):
            return self._same_as_chain(one, other)
        if isinstance(one, Assignment) or isinstance(other, Assignment):
            return self._same_as_assignment(one, other)
        if isinstance(one, Relation) or isinstance(other, Relation):
            return self._same_as_relation(one, other)
        return self._same_values(one, other)

    def _same_as_chain(self, one: Node, other: Node) -> bool:
        chain, value = (one, other) if isinstance(one, Chain) else (other, one)
        assert isinstance(chain, Chain)
        return all(self.same(item, value) for item in chain.items)

    def _same_as_assignment(self, one: Node, other: Node) -> bool:
        if isinstance(one, Assignment) and isinstance(other, Assignment):
            return one.name == other.name and self.same(one.value, other.value)
        if isinstance(other, Assignment):
            one, other = other, one
        assert isinstance(one, Assignment)
        if isinstance(other, Relation):
            return isinstance(one.value, Leaf) and self._same_as_relation(
                Relation("=", Leaf(one.name), one.value), other
            )
        return self.same(one.value, other)

    def _same_as_relation(self, one: Node, other: Node) -> bool:
        if isinstance(one, Relation) and isinstance(other, Relation):
            return self.same_relation(one, other)
        relation, value = (one, other) if isinstance(one, Relation) else (other, one)
        assert isinstance(relation, Relation)
        return (
            relation.sign == "="
            and self.same(relation.left, relation.right)
            and self.same(relation.right, value)
        )

    def _same_values(self, one: Node, other: Node) -> bool:
        if isinstance(one, Leaf) and isinstance(other, Leaf):
            return self.same_leaf(one, other)
        if isinstance(one, Interval) and isinstance(other, Interval):
            return self._same_intervals(one, other)
        if isinstance(one, Ordered) and isinstance(other, Ordered):
            return one.brackets == other.brackets and self._same_in_order(one.items, other.items)
        for ordered, loose in ((one, other), (other, one)):
            if isinstance(ordered, Ordered) and not isinstance(loose, Leaf):
                return ordered.brackets == "()" and self._same_in_order(ordered.items, _in_order(loose))
        return self._same_collections(one, other)

    def _same_collections(self, one: Node, other: Node) -> bool:
        """One alone may be a single item; names that differ keep the order of items without names."""
        if not (isinstance(one, Collection) or isinstance(other, Collection)):
            return False
        named, loose = (one, other) if _are_named(one) else (other, one)
        if _are_named(named) and not any(isinstance(item, Assignment) for item in _items(loose)):
            return self._same_in_order(_items(named), _in_order(loose))
        return self._same_in_any_order(_items(one), _items(other))

    def _same_intervals(self, one: Interval, other: Interval) -> bool:
        is_other_variable = None not in (one.variable, other.variable) and one.variable != other.variable
        ends = (one.low, one.high), (other.low, other.high)
        return one.closed == other.closed and not is_other_variable and self._same_in_order(*ends)

    def _same_in_order(self, ones: Sequence[Node], others: Sequence[Node]) -> bool:
        return len(ones) == len(others) and all(map(self.same, ones, others))

    def _same_in_any_order(self, ones: Sequence[Node], others: Sequence[Node]) -> bool:
        """Each item has its own partner on the other side; the first that is equal is taken."""
        if len(ones) != len(others) or len(ones) > MOST_ITEMS:
            return False
        left = list(others)
        for item in ones:
            partner = next((place for place, other in enumerate(left) if self.same(item, other)), None)
            if partner is None:
                return False
            del left[partner]
        return True


def _are_named(node: Node) -> bool:
    """Whether the items of a node have different names."""
    return len({item.name for item in _items(node) if isinstance(item, Assignment)}) > 1


def _in_order(node: Node) -> tuple[Node, ...]:
    """What a node may mean as a tuple: the ends of an open interval, the items of a list with commas."""
    if isinstance(node, Interval) and node.closed == (False, False):
        return (node.low, node.high)
    return node.items if isinstance(node, Collection) and node.is_bare else ()


def _items(node: Node) -> tuple[Node, ...]:
    """The items of a collection, with those of collections within it; of anything else that alone."""
    if not isinstance(node, Collection):
        return (node,)
    return tuple(
        part for item in node.items for part in (_items(item) if isinstance(item, Collection) else (item,))
    )


def same_leaf_text(one: Leaf, other: Leaf) -> bool:
    """Whether two expressions are equal, where that can be seen without mathematics.

    Raises:
        MathematicsNeededError: it cannot.

    >>> same_leaf_text(Leaf("0.50"), Leaf(r"\\frac{1}{2}")), same_leaf_text(Leaf("12", "5"), Leaf("12"))
    (True, False)
    """
    if one == other:
        return True
    if one.base is not None or other.base is not None:
        return False
    first, second = read_numeral(one.text), read_numeral(other.text)
    if first is None or second is None:
        raise MathematicsNeededError
    if same_number(first, second):
        return True
    if first.is_percent == second.is_percent:
        return False
    first, second = (bare_percent(number) if number.is_percent else number for number in (first, second))
    return first is not None and second is not None and same_number(first, second)


def no_relations(one: Relation, other: Relation) -> bool:
    """Raises MathematicsNeededError: equations that differ as text are for mathematics."""
    raise MathematicsNeededError
