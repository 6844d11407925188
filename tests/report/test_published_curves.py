"""The published curves are those of the data, row for row."""

import csv
from importlib.resources import files

from corrpo.report.published_curves import SOURCE, published_curves, published_model_types


def test_the_curves_hold_every_row_of_the_data_and_nothing_else():
    with files("corrpo.report").joinpath("published_spearman.csv").open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    curves = [
        (curve.figure, curve.model, stage, str(step), rho)
        for curve in published_curves()
        for stage, steps, values in curve.stages
        for step, rho in zip(steps, values, strict=True)
    ]
    types = [("model_type", row.model, row.type, "", row.spearman) for row in published_model_types()]
    assert [(*key, float(rho)) for *key, rho in rows] == [*curves, *types]
    assert "February 2026" in SOURCE


def test_steps_rise_and_the_second_stage_begins_where_the_first_ended():
    curves = {(curve.figure, curve.model): curve for curve in published_curves()}
    assert len(curves) == len(published_curves()) == 6
    for model in ("llama-3.1-8b", "qwen"):
        ((_, sft_steps, sft),) = curves["sft", model].stages
        ((_, rl_steps, rl),) = curves["sft_then_rl", model].stages
        assert list(sft_steps + rl_steps[1:]) == sorted(set(sft_steps + rl_steps))
        assert (sft_steps[-1], sft[-1]) == (rl_steps[0], rl[0])
