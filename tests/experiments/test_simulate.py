"""The verdict on simulated experiments with known effects comes out at the rates that the rules state."""

from dataclasses import replace

import pytest

from corrpo.experiments.analysis import Analysis
from corrpo.experiments.simulate import World, verdict_rates

NOTHING = dict.fromkeys(("grpo", "corrpo", "negate", "shuffle", "clamp", "constant"), 0.0)
WORLDS = {
    "nothing": World(NOTHING),
    "placebo": World(dict.fromkeys(NOTHING, 0.1) | {"grpo": 0.0}),
    "smallest": World(NOTHING | {"corrpo": 0.02}),
    "effect": World(NOTHING | {"corrpo": 0.1}),
    "two seeds": World(NOTHING | {"corrpo": 0.03}, seeds=2),
}
"""No effect; a gain that the controls have too; the smallest effect of interest; a large one; few seeds."""
TABLE = (
    ("nothing", "supported", 0.0, 0.05),
    ("placebo", "supported", 0.0, 0.05),
    ("smallest", "not supported", 0.0, 0.05),
    ("effect", "not supported", 0.0, 0.05),
    ("effect", "supported", 0.8, 1.0),
    ("nothing", "not supported", 0.3, 1.0),
    ("two seeds", "undecided", 0.8, 1.0),
)
"""World, verdict, and between which rates it must come out."""


def check(simulations):
    """Over `simulations` of each world; three errors of simulation are allowed beyond a stated rate."""
    rates = {
        name: verdict_rates(world, Analysis(), simulations=simulations) for name, world in WORLDS.items()
    }
    print(simulations, rates)
    for name, kind, low, high in TABLE:
        slack = 3 * (0.05 * 0.95 / simulations) ** 0.5
        assert low - slack <= rates[name][kind] <= high + slack, (name, kind, rates[name])


def test_verdicts_come_out_at_their_rates_in_a_few_small_experiments():
    small = {name: replace(world, problems=60) for name, world in WORLDS.items()}
    null, effect = (verdict_rates(small[name], Analysis(), simulations=8) for name in ("nothing", "effect"))
    assert null["supported"] == 0
    assert effect["not supported"] == 0
    assert sum(null.values()) == pytest.approx(1)


@pytest.mark.nightly
def test_verdicts_come_out_at_their_rates_over_500_experiments():
    check(500)
