"""The inversion reward: what each rollout gets, under every control and gate."""

import inspect
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corrpo.errors import BadInputError
from corrpo.rewards.choices import CONTROL_NAMES
from corrpo.rewards.controls import find_control
from corrpo.rewards.gates import GATES
from corrpo.rewards.inversion import inversion_reward
from corrpo.rewards.shapes import SHAPES

NAN = math.nan
RHO = st.floats(-1, 1) | st.just(NAN)
TASK = st.sampled_from([0.0, 1.0, NAN])
PLAIN = tuple(name for name in CONTROL_NAMES if name != "shuffle")


@st.composite
def groups(draw):
    """The rhos and task rewards of a few groups: float64 [groups, size] each."""
    count, size = draw(st.integers(0, 3)), draw(st.integers(1, 6))
    columns = (draw(st.lists(kind, min_size=count * size, max_size=count * size)) for kind in (RHO, TASK))
    return tuple(torch.tensor(column, dtype=torch.float64).reshape(count, size) for column in columns)


def reward(rho, task=None, seed=0, **options):
    """`inversion_reward` of rho [groups, size], in that shape."""
    c = inversion_reward(
        rho.flatten(),
        group_size=rho.shape[1],
        task=None if task is None else task.flatten(),
        start=0.25,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )
    return c.reshape(rho.shape)


def test_inversion_is_rewarded_and_a_rollout_without_rho_gets_the_mean():
    rho = torch.tensor([-0.5, 0.25, NAN, -0.5, NAN, NAN])
    assert inversion_reward(rho, group_size=3).tolist() == [0.5, -0.25, 0.125, 0.5, 0.5, 0.5]
    assert inversion_reward(torch.tensor([NAN, NAN]), group_size=2).tolist() == [0, 0]


def test_a_gate_counts_those_outside_as_0_and_fills_in_from_those_inside():
    rho = torch.tensor([-0.5, -1.0, NAN, 0.25, NAN])
    task = torch.tensor([1.0, 0.0, 1.0, 1.0, NAN])
    correct = inversion_reward(rho, group_size=5, gate="correct", task=task)
    assert correct.tolist() == [0.5, 0, 0.125, -0.25, 0]
    incorrect = inversion_reward(rho, group_size=5, gate="incorrect", task=task)
    assert incorrect.tolist() == [0, 1, 0, 0, 0]
    assert torch.equal(reward(rho[None], task[None], gate="all"), reward(rho[None]))


def test_what_each_control_gives():
    rho = torch.tensor([-0.5, 0.25, NAN, 0.75])
    given = {name: reward(rho[None], control=name)[0] for name in CONTROL_NAMES}
    assert given["none"].tolist() == pytest.approx([0.5, -0.25, -1 / 6, -0.75])
    assert given["negate"].tolist() == pytest.approx([-0.5, 0.25, 1 / 6, 0.75])
    assert given["clamp"].tolist() == pytest.approx([-0.75, 0, -1.25 / 3, -0.5])
    assert given["constant"].tolist() == pytest.approx([-1 / 6] * 4)
    assert sorted(given["shuffle"][[0, 1, 3]].tolist()) == [-0.75, -0.25, 0.5]


@pytest.mark.parametrize("control", CONTROL_NAMES)
@settings(max_examples=60, deadline=None)
@given(groups(), st.sampled_from(list(SHAPES)), st.sampled_from(list(GATES)))
def test_never_nan_and_in_the_range_that_is_promised(control, batch, shape, gate):
    rho, task = batch
    c = reward(rho, task, control=control, shape=shape, gate=gate)
    low, high = (-2, 0) if control == "clamp" else (-1, 1)
    assert c.dtype == torch.float32
    assert ((c >= low) & (c <= high)).all()
    outside = ~GATES[gate](task.flatten())
    assert (c.flatten()[outside] == 0).all()


@pytest.mark.parametrize("control", PLAIN)
@settings(max_examples=60, deadline=None)
@given(groups(), st.sampled_from(list(GATES)), st.randoms(use_true_random=False))
def test_the_order_of_the_rollouts_in_a_group_does_not_matter(control, batch, gate, random):
    rho, task = batch
    order = random.sample(range(rho.shape[1]), rho.shape[1])
    once = reward(rho, task, control=control, gate=gate)
    again = reward(rho[:, order], task[:, order], control=control, gate=gate)
    torch.testing.assert_close(again, once[:, order])


@pytest.mark.parametrize("control", PLAIN)
@settings(max_examples=40, deadline=None)
@given(groups())
def test_groups_do_not_see_each_other(control, batch):
    rho, _ = batch
    others = torch.full((2, rho.shape[1]), 0.5, dtype=torch.float64)
    together = reward(torch.cat([rho, others]), control=control)
    assert torch.equal(together[: len(rho)], reward(rho, control=control))


@pytest.mark.parametrize("control", CONTROL_NAMES)
@settings(max_examples=60, deadline=None)
@given(groups())
def test_a_control_is_nan_exactly_where_rho_is(control, batch):
    rho, _ = batch
    record = find_control(control)
    given = {"start": 0.0, "generator": torch.Generator().manual_seed(0)}
    c = record.reward(rho, SHAPES["fisher"], **{name: given[name] for name in record.needs})
    assert c.dtype == rho.dtype
    assert torch.equal(c.isnan(), rho.isnan())


@settings(max_examples=60, deadline=None)
@given(groups(), st.sampled_from(list(SHAPES)), st.integers(0, 99))
def test_shuffle_deals_out_the_rewards_of_the_group(batch, shape, seed):
    rho, _ = batch
    real, dealt = reward(rho, shape=shape), reward(rho, shape=shape, control="shuffle", seed=seed)
    for row, has_rho in enumerate(~rho.isnan()):
        assert torch.equal(real[row, has_rho].sort().values, dealt[row, has_rho].sort().values)
    torch.testing.assert_close(dealt[rho.isnan()], real[rho.isnan()])


def test_shuffle_says_nothing_of_the_rollout_and_repeats_itself():
    rho = torch.tensor([[-0.8, -0.4, NAN, 0.0, 0.4]]).repeat(4000, 1)
    dealt = reward(rho, control="shuffle")
    assert torch.equal(dealt, reward(rho, control="shuffle"))
    assert not torch.equal(dealt, reward(rho, control="shuffle", seed=1))
    torch.testing.assert_close(dealt.mean(0), torch.full((5,), 0.2), rtol=0, atol=0.03)


def test_shuffle_draws_alike_whatever_rho_holds():
    """Or one rollout without rho would change what all later steps deal."""
    states = []
    for rho in (torch.rand(8), torch.full((8,), NAN)):
        generator = torch.Generator().manual_seed(0)
        inversion_reward(rho, group_size=4, control="shuffle", generator=generator)
        states.append(generator.get_state())
    assert torch.equal(*states)


@settings(max_examples=60, deadline=None)
@given(groups(), st.sampled_from(list(SHAPES)))
def test_constant_does_not_vary_within_a_group(batch, shape):
    rho, _ = batch
    c = reward(rho, shape=shape, control="constant")
    assert torch.equal(c, c[:, :1].expand_as(c))
    real = reward(rho, shape=shape)
    torch.testing.assert_close(c.mean(1), real.mean(1))


@settings(max_examples=60, deadline=None)
@given(groups())
def test_relu_never_punishes_and_negate_turns_the_sign(batch):
    rho, _ = batch
    assert (reward(rho, shape="relu") >= 0).all()
    assert torch.equal(reward(rho, control="negate"), -reward(rho))


def test_a_tiny_weight_acts_at_full_strength_where_accuracies_are_equal():
    """What the module says of dividing by the std of the group."""
    rho = torch.randn(8) / 10
    c = inversion_reward(rho, group_size=8)

    def advantages(weight):
        rewards = 1.0 + weight * c
        return (rewards - rewards.mean()) / (rewards.std() + 1e-4)

    assert advantages(0.01).std() > 0.85 * advantages(1.0).std()


def test_no_gradient_flows():
    rho = torch.rand(4, requires_grad=True)
    assert not inversion_reward(rho, group_size=2).requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_size": 3}, "4 rollouts with group_size=3"),
        ({"group_size": 0}, "group_size=0: expected a positive"),
        ({"shape": "square"}, "shape 'square' is unknown; expected one of identity, relu, fisher"),
        ({"control": "placebo"}, "control 'placebo' is unknown; expected one of none, shuffle"),
        ({"gate": "some"}, "gate 'some' is unknown; expected one of all, correct"),
        ({"gate": "correct"}, "gate 'correct' needs task"),
        ({"control": "clamp"}, "start=None: control 'clamp' needs the mean rho"),
        ({"control": "clamp", "start": NAN}, "start=nan"),
        ({"control": "shuffle"}, "generator=None: control 'shuffle' needs"),
    ],
)
def test_arguments_that_do_not_fit_say_what_is_expected(options, message):
    with pytest.raises(BadInputError, match=message):
        inversion_reward(torch.rand(4), **{"group_size": 2, **options})


def test_rhos_and_tasks_that_do_not_fit_say_what_is_expected(no_shape_checks):
    with pytest.raises(BadInputError, match=r"rho\[1\] is -1.5; expected correlations"):
        inversion_reward(torch.tensor([NAN, -1.5]), group_size=2)
    unchecked = no_shape_checks(inversion_reward)
    with pytest.raises(BadInputError, match=r"task has shape \(3,\)"):
        unchecked(torch.rand(4), group_size=2, gate="correct", task=torch.rand(3))
    with pytest.raises(BadInputError, match=r"rho has shape \(2, 2\)"):
        unchecked(torch.rand(2, 2), group_size=2)


@pytest.mark.parametrize("name", CONTROL_NAMES)
def test_a_control_says_what_it_gives_and_what_it_answers(name):
    record = find_control(name)
    assert record.formula
    assert record.question
    assert set(record.needs) <= set(inspect.signature(record.reward).parameters)


def test_the_functions_need_no_trainer_and_no_verifier():
    code = (
        "import sys, corrpo.rewards.inversion, corrpo.rewards.rollout_correlation\n"
        "assert not {'trl', 'math_verify', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
def test_no_module_of_the_rewards_imports_an_engine():
    """Nor do the settings need torch."""
    code = """
import pkgutil, sys, corrpo.rewards, corrpo.rewards.inversion_settings
assert "torch" not in sys.modules
for module in pkgutil.walk_packages(corrpo.rewards.__path__, "corrpo.rewards."):
    __import__(module.name)
engines = {"trl", "transformers.trainer", "datasets", "verl", "math_verify"}
assert not engines & set(sys.modules), engines & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
