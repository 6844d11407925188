"""The running rho is that of its window, and its interval covers as stated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.monitor.running_rho import RunningRho


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=4, max_size=60),
    st.integers(4, 20),
)
def test_rho_is_that_of_scipy_over_the_window_at_every_token_ties_included(pairs, window):
    running = RunningRho(window, min_tokens=4)
    for end, pair in enumerate(pairs, start=1):
        running.push(*pair)
        x, y = np.array(pairs[max(0, end - window) : end]).T
        if end < 4 or len(set(x)) == 1 or len(set(y)) == 1:
            assert running.value is None
            assert running.rho is None
        else:
            assert running.value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_rho_stays_exact_over_a_long_text():
    x, y = np.random.default_rng(0).normal(size=(2, 5000))
    running = RunningRho(100)
    for pair in zip(x, y, strict=True):
        running.push(*pair)
    assert running.rho is not None
    assert running.rho.tokens == len(running) == 100
    assert running.rho.value == pytest.approx(spearmanr(x[-100:], y[-100:]).statistic, abs=1e-12)


def series(rng, rho, persistence, n):
    """Two series of normal variables with the same autocorrelation and a correlation of `rho`."""
    noise = rng.normal(size=(2, n + 50))
    noise[1] = rho * noise[0] + np.sqrt(1 - rho * rho) * noise[1]
    for t in range(1, n + 50):
        noise[:, t] = persistence * noise[:, t - 1] + np.sqrt(1 - persistence**2) * noise[:, t]
    return noise[:, 50:]


@pytest.mark.parametrize(("rho", "persistence"), [(0.0, 0.0), (0.0, 0.6), (-0.6, 0.6), (0.4, 0.3)])
def test_the_interval_covers_the_rho_of_the_process_with_or_without_autocorrelation(rho, persistence):
    rng = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(rho / 2)
    covered, runs = 0, 200
    for _ in range(runs):
        running = RunningRho(128)
        for pair in series(rng, rho, persistence, 128).T:
            running.push(*pair)
        result = running.rho
        assert result is not None
        assert result.low is not None
        assert result.high is not None
        covered += result.low <= truth <= result.high
    assert covered / runs >= 0.9


def test_bad_values_are_refused_and_leave_the_window_as_it_was():
    running = RunningRho(10)
    for i in range(12):
        running.push(i, i * i)
    before = running.rho
    with pytest.raises(NonFiniteError, match="token 12: entropy is nan"):
        running.push(float("nan"), 1.0)
    assert running.rho == before


@pytest.mark.parametrize(
    ("settings_", "message"),
    [({"window": 5}, "window=5"), ({"min_tokens": 3}, "min_tokens=3"), ({"confidence": 1.0}, "confidence")],
)
def test_settings_out_of_range_are_refused(settings_, message):
    with pytest.raises(BadInputError, match=message):
        RunningRho(**settings_)
