"""The training part of `corrpo demo`, cut to two steps."""

import pytest
from rich.console import Console

from corrpo import Fingerprint
from corrpo.cli.demos.training import models_table, train_lab


@pytest.mark.slow
def test_both_runs_are_trained_measured_and_not_done_twice(tmp_path):
    outcomes = list(train_lab(tmp_path, steps=2, problems=16))
    assert [each.name for each in outcomes] == ["before", "grpo", "corrpo"]
    for each in outcomes:
        assert each.rho == Fingerprint.load(each.folder).spearman
        assert each.solved.total == len(each.solved.lengths) == 16
    assert outcomes[1].rho != outcomes[2].rho
    console = Console(width=100, record=True)
    console.print(models_table(outcomes))
    assert str(outcomes[2].solved) in console.export_text()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/final/*")}
    again = list(train_lab(tmp_path, steps=2, problems=16))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/final/*")} == before
    assert [each.rho for each in again] == [each.rho for each in outcomes]
