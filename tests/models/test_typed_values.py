"""Values of other types than a function takes are told as what was given and what was expected."""

import subprocess
import sys
from pathlib import Path

import pytest

from corrpo.errors import BadInputError
from corrpo.measurement.options import MeasureOptions


def test_public_functions_refuse_values_of_other_types():
    script = Path(__file__).with_name("wrong_types.py")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ended.stdout == "all are told\n", ended.stderr[-2000:]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"temperature": 1e-38}, "temperature=1e-38: expected 0 .greedy., or 1e-06 or more"),
        ({"seed": 1 << 63}, "seed=9223372036854775808: expected a whole number from 0 to 4294967295"),
    ],
)
def test_numbers_that_generation_cannot_take(setting, told):
    with pytest.raises(BadInputError, match=told):
        MeasureOptions(**setting)
