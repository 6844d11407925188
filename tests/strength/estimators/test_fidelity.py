"""What an estimator was measured to be worth is told wherever it is chosen, and written in one place."""

import re
import sys

import pytest

from commands import ROOT
from corrpo.cli.main import main
from corrpo.measurement.options import MeasureOptions
from corrpo.models.keywords import field_meanings
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.strength.estimators import ESTIMATORS, estimator_named
from corrpo.strength.estimators.fidelity import MEASURED, ROWS, agreement, told

ASKED = [row for row in ROWS if row["estimator"]]


def test_what_is_not_exact_over_all_layers_has_a_fidelity():
    for name in ESTIMATORS:
        estimator = estimator_named(name)
        partial = not estimator.is_exact or estimator.is_last_layer_alone
        assert bool(agreement(name, {})) == partial == (name in MEASURED)


def numbers(row):
    return f"{row['tokens'][0]:.2f}; {row['shift'][0]:+.2f}; {row['within_groups'][0]:.2f} on {row['model']}"


def test_training_tells_the_numbers_of_every_setting_on_every_pretrained_model():
    for row in ASKED:
        assert (numbers(row) in told(training=True)) == row["pretrained"]
        way = f"{row['estimator']}, {row['settings']}: "
        assert way in told(training=True)
        assert (way in told()) == (row["settings"] != "fitted")


@pytest.mark.parametrize(
    ("estimator", "settings", "used"),
    [
        ("pruned", {"kept": 16}, {"16 kept"}),
        ("pruned", {"kept": 24}, {"8 kept", "16 kept", "32 kept"}),
        ("own", {"projections": ["q", "k", "v", "o"]}, {"all"}),
        ("own", {"projections": ["q", "o"]}, {"all", "q o, upper half"}),
        ("own", {"layers": [0]}, {"all", "q o, upper half"}),
        ("own", {"norm": "frobenius"}, {"all", "q o, upper half"}),
        ("own", {"target": "logprob"}, {"all", "q o, upper half"}),
        ("pruned", {"kept": 16, "projections": ["k"]}, {"8 kept", "16 kept", "32 kept"}),
        ("last", {}, {"all"}),
    ],
)
def test_a_result_is_told_the_numbers_of_the_way_in_which_it_was_found(estimator, settings, used):
    words = agreement(estimator, settings)
    for row in ASKED:
        if row["estimator"] == estimator and row["pretrained"]:
            assert (numbers(row) in words) == (row["settings"] in used)
    assert words.endswith("Other settings were not measured.") == (len(used) > 1)


def test_intervals_hold_their_values():
    for row in ROWS:
        for name in ("tokens", "shift", "rollouts", "within_groups"):
            value, low, high = row[name]
            if low is None:
                continue
            assert low <= value <= high, (row["model"], row["signal"], name)


def test_the_documentation_shows_every_row(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "fidelity")
    from table import cells

    sys.modules.pop("table")
    method = re.sub(" +", " ", (ROOT / "docs" / "METHOD.md").read_text())
    for row in ROWS:
        if row["pretrained"]:
            assert " | ".join(cell for cell in cells(row)).strip() in method, row["signal"]


def test_every_help_says_the_same():
    assert told() in field_meanings(MeasureOptions)["estimator"]
    assert (
        told(training=True) in InversionSettings.__dataclass_fields__["inversion_estimator"].metadata["help"]
    )


@pytest.mark.parametrize("verb", ["measure", "track"])
def test_the_command_line_shows_it(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    words = " ".join(re.sub(r"[│╭╰─╮╯]", " ", capsys.readouterr().out).split())
    assert told() in words
