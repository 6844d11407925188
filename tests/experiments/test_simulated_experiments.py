"""The verdict on simulated experiments with known effects comes out at the rates that the rules state."""

from dataclasses import replace

import pytest

from corrpo.experiments.simulated_experiments import World, verdict_rates
from corrpo.experiments.verdict_rules import Analysis

NOTHING = dict.fromkeys(("grpo", "corrpo", "negate", "shuffle", "clamp"), 0.0)
ROUGH = World(NOTHING | {"corrpo": 0.02}, run_spread=0.3, problem_spread=1.0)
WORLDS = {
    "nothing": World(NOTHING),
    "placebo": World(dict.fromkeys(NOTHING, 0.1) | {"grpo": 0.0}),
    "one placebo": World(NOTHING | {"corrpo": 0.2, "shuffle": 0.2}),
    "smallest": World(NOTHING | {"corrpo": 0.02}),
    "smallest, rough, 2 seeds": replace(ROUGH, seeds=2),
    "smallest, rough, 3 seeds": replace(ROUGH, seeds=3),
    "effect": World(NOTHING | {"corrpo": 0.1}),
    "effect, rho as before": World(NOTHING | {"corrpo": 0.1}, rho={}),
    "two seeds": World(NOTHING | {"corrpo": 0.03}, seeds=2),
}
"""No effect; a gain that controls have too; the smallest effect of interest, also where seeds and problems
differ much; a large one; one that rho has no part in; few seeds."""
WRONG = Analysis().alpha / 2
TABLE = (
    ("nothing", "supported", 0.0, WRONG),
    ("placebo", "supported", 0.0, WRONG),
    ("one placebo", "supported", 0.0, WRONG),
    ("smallest", "not supported", 0.0, WRONG),
    ("smallest, rough, 2 seeds", "not supported", 0.0, WRONG),
    ("smallest, rough, 3 seeds", "not supported", 0.0, WRONG),
    ("effect", "not supported", 0.0, WRONG),
    ("effect", "supported", 0.8, 1.0),
    ("effect, rho as before", "supported", 0.0, WRONG),
    ("nothing", "not supported", 0.3, 1.0),
    ("two seeds", "undecided", 0.8, 1.0),
)
"""World, verdict, and between which rates it must come out."""


def check(simulations):
    """Over `simulations` of each world; two errors of simulation are allowed beyond a stated rate."""
    rates = {
        name: verdict_rates(world, Analysis(), simulations=simulations) for name, world in WORLDS.items()
    }
    for name, of_world in rates.items():
        print(f"{name:26}" + "".join(f"{100 * rate:7.1f} % {kind}" for kind, rate in of_world.items()))
    for name, kind, low, high in TABLE:
        slack = 2 * (WRONG * (1 - WRONG) / simulations) ** 0.5
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
