"""Schedules of the weight, shapes of rho and gates: ends, ranges and order."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corrpo.errors import BadInputError
from corrpo.rewards.choices import GATE_NAMES, SCHEDULE_NAMES, SHAPE_NAMES, STATISTIC_NAMES
from corrpo.rewards.gates import GATES
from corrpo.rewards.rollout_correlation import STATISTICS
from corrpo.rewards.schedules import SCHEDULES
from corrpo.rewards.shapes import SHAPES

ENDS = {"constant": (1, 1, 1), "linear": (1, 0.5, 0), "cosine": (1, 0.5, 0), "warmup": (0, 1, 1)}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_start_pass_the_middle_and_end_where_they_should(name):
    assert [SCHEDULES[name](progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx(ENDS[name])


@pytest.mark.parametrize("name", SCHEDULES)
@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_schedules_stay_in_range_and_move_one_way(name, early, late):
    early, late = sorted((early, late))
    first, second = SCHEDULES[name](early), SCHEDULES[name](late)
    assert 0 <= first <= 1
    assert 0 <= second <= 1
    assert first <= second if name in ("constant", "warmup") else first >= second


@pytest.mark.parametrize("name", SCHEDULES)
def test_progress_outside_the_run_is_cut_and_nan_is_refused(name):
    assert SCHEDULES[name](-3.0) == SCHEDULES[name](0.0)
    assert SCHEDULES[name](math.inf) == SCHEDULES[name](1.0)
    with pytest.raises(BadInputError, match="progress is NaN"):
        SCHEDULES[name](math.nan)


@pytest.mark.parametrize("name", SHAPES)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_shapes_keep_the_range_and_the_order(name, rhos):
    rho = torch.tensor(sorted(rhos), dtype=torch.float64)
    shaped = SHAPES[name](rho)
    assert shaped.dtype == rho.dtype
    assert (shaped.abs() <= 1).all()
    assert (shaped.diff() >= 0).all()


def test_what_each_shape_makes_of_rho():
    rho = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, math.nan], dtype=torch.float64)
    shaped = {name: shape(rho) for name, shape in SHAPES.items()}
    assert all(values.isnan().tolist() == [False] * 5 + [True] for values in shaped.values())
    assert shaped["identity"][:5].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert shaped["relu"][:5].tolist() == [-1, -0.5, 0, 0, 0]
    third = math.atanh(0.5) / 3
    assert shaped["fisher"][:5].tolist() == pytest.approx([-1, -third, 0, third, 1])


def test_gates_judge_by_the_task_reward_and_leave_the_unscorable_out():
    task = torch.tensor([1.0, 0.51, 0.5, 0.0, -1.0, math.nan])
    assert GATES["all"](task).all()
    assert GATES["correct"](task).tolist() == [True, True, False, False, False, False]
    assert GATES["incorrect"](task).tolist() == [False, False, True, True, True, False]


def test_the_names_are_those_of_the_settings():
    assert tuple(SCHEDULES) == SCHEDULE_NAMES == ("constant", "linear", "cosine", "warmup")
    assert tuple(SHAPES) == SHAPE_NAMES == ("identity", "relu", "fisher")
    assert tuple(GATES) == GATE_NAMES == ("all", "correct", "incorrect")
    assert tuple(STATISTICS) == STATISTIC_NAMES
