"""Which tokens of a response are chosen."""

import numpy as np
import pytest

from corrpo.samples.token_sampling import stratified_positions


@pytest.mark.parametrize(("n", "most"), [(7, 3), (100, 99), (5, 5), (4, 9), (1000, 2)])
def test_stratified_positions_are_distinct_and_spread_out(n, most):
    positions = stratified_positions(n, most, 3, "sample")
    assert len(positions) == min(n, most)
    assert (positions[1:] > positions[:-1]).all()
    assert max(positions[1:] - positions[:-1]) < 2 * n / len(positions) + 1
    assert 0 <= positions[0] <= positions[-1] < n
    assert stratified_positions(n, most, 3, "sample").tolist() == positions.tolist()


def test_every_position_is_as_likely_to_be_measured():
    drawn = np.concatenate([stratified_positions(5, 4, 0, str(i)) for i in range(4000)])
    assert (np.bincount(drawn) / 4000).tolist() == pytest.approx([0.8] * 5, abs=0.04)
