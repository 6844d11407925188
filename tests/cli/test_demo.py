"""The training part of `corrpo demo`, cut to two steps."""

import pytest
from rich.console import Console

from corrpo import Fingerprint
from corrpo.cli.demos.training import models_table, train_lab


@pytest.mark.slow
def test_both_runs_are_trained_measured_and_not_done_twice(tmp_path):
    outcomes = list(train_lab(tmp_path, steps=2, problems=16))
    assert [model.name for model in outcomes] == ["before", "grpo", "corrpo"]
    for model in outcomes:
        assert model.rho == Fingerprint.load(model.folder).spearman
        assert model.solved.total == len(model.solved.lengths) == 16
    assert outcomes[1].rho != outcomes[2].rho
    console = Console(width=100, record=True)
    console.print(models_table(outcomes))
    assert str(outcomes[2].solved) in console.export_text()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/final/*")}
    again = list(train_lab(tmp_path, steps=2, problems=16))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/final/*")} == before
    assert [model.rho for model in again] == [model.rho for model in outcomes]
