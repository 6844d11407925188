"""What an estimator was measured to be worth is told wherever it is chosen, and written in one place."""

import re

import pytest

from commands import ROOT
from corrpo.cli.main import main
from corrpo.measurement.options import MeasureOptions
from corrpo.models.keywords import field_meanings
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.strength.estimators import ESTIMATORS, estimator_named
from corrpo.strength.estimators.fidelity import FIDELITY


def test_what_is_not_exact_over_all_layers_has_a_fidelity():
    for name in ESTIMATORS:
        estimator = estimator_named(name)
        partial = not estimator.is_exact or estimator.is_last_layer_alone
        assert bool(estimator.fidelity) == partial
        assert estimator.fidelity == FIDELITY.get(name, "")


@pytest.mark.parametrize("sentence", FIDELITY.values(), ids=FIDELITY)
def test_the_documentation_and_every_help_say_the_same(sentence):
    assert sentence in (ROOT / "docs" / "METHOD.md").read_text()
    assert sentence in field_meanings(MeasureOptions)["estimator"]
    help_of_training = InversionSettings.__dataclass_fields__["inversion_estimator"].metadata["help"]
    assert sentence in help_of_training


@pytest.mark.parametrize("verb", ["measure", "track"])
def test_the_command_line_shows_them(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    words = " ".join(re.sub(r"[│╭╰─╮╯]", " ", capsys.readouterr().out).split())
    for sentence in FIDELITY.values():
        assert sentence in words
