"""Figures over training: their axes, gaps and numbers."""

from xml.etree import ElementTree

import pytest

from corrpo.report.figures.dynamics import RunsPanel, dynamics_figure
from corrpo.report.figures.lines import Line, Part, StepAxis, Value
from corrpo.report.figures.performance import PerformancePanel, performance_figure
from corrpo.report.figures.runs import RunsColumn, runs_figure

HOSTILE = "$x^{$<script>\x00\u202e&\ud800 _"


def line(label="run", *stages, published=False):
    parts = tuple(
        Part(
            stage,
            steps,
            tuple(Value(-0.1 * n, -0.1 * n - 0.05, -0.1 * n + 0.05, "f") for n in range(len(steps))),
        )
        for stage, steps in stages or (("sft", (0, 10, 20)),)
    )
    return Line(label, parts, published)


def test_steps_go_on_from_stage_to_stage():
    run = line("a", ("sft", (0, 100, 1000)), ("grpo", (10, 60)))
    places = StepAxis([run], "steps")
    assert places.places(run, 0) == [0, 100, 1000]
    assert places.places(run, 1) == [1010, 1060]
    assert places.boundaries == [1000]


def test_the_stretched_axis_gives_every_measured_step_the_same_room():
    published = line("p", ("sft", (0, 200, 400, 2000, 8000)))
    places = StepAxis([published], "stretched")
    assert places.places(published, 0) == [0, 1, 2, 3, 4]
    assert places.ticks() == ([0, 1, 2, 3, 4], ["0", "200", "400", "2k", "8k"])


def test_fractions_lay_runs_of_other_lengths_over_one_another():
    short, long = line("a", ("sft", (0, 30, 60))), line("b", ("sft", (0, 4000, 8000)))
    places = StepAxis([short, long], "fraction")
    assert places.places(short, 0) == places.places(long, 0) == [0, 0.5, 1]


@pytest.mark.parametrize("axis", ["steps", "stretched", "fraction"])
def test_the_data_are_what_is_drawn_and_the_bytes_are_the_same_twice(axis):
    panels = [RunsPanel("qwen2", (line("a"), line("b", published=True))), RunsPanel("llama", (line("a"),))]
    first, second = (dynamics_figure("f", panels, axis=axis, value_label="rho") for _ in range(2))
    assert first.svg() == second.svg()
    rows = first.data.to_dicts()
    assert len(rows) == 9
    assert [row["value"] for row in rows[:3]] == [0.0, -0.1, -0.2]
    assert {row["source"] for row in rows} == {"f"}


def test_a_value_that_does_not_exist_is_a_gap():
    run = Line("a", (Part("sft", (0, 10, 20), (Value(0.1), Value(None), Value(0.3))),))
    drawing = dynamics_figure("f", [RunsPanel("p", (run,))], value_label="rho")
    assert drawing.data["value"].to_list() == [0.1, None, 0.3]
    ElementTree.fromstring(drawing.svg())


def test_one_checkpoint_and_hostile_labels_can_be_drawn():
    run = Line(HOSTILE, (Part(HOSTILE, (5,), (Value(0.1, 0.0, 0.2, HOSTILE),)),))
    panel = PerformancePanel(
        HOSTILE, (5,), (Value(0.1),), (Value(50.0, 40.0, 60.0),), note=HOSTILE.replace("$", "")
    )
    for drawing in (
        dynamics_figure("f", [RunsPanel(HOSTILE, (run,))], value_label="rho"),
        runs_figure("f", [RunsColumn(HOSTILE, (run,), (run,))], rho_label="rho"),
        performance_figure("f", [panel], rho_label="rho"),
    ):
        assert "<script" not in drawing.svg()
        ElementTree.fromstring(drawing.svg().encode("utf-8"))
        assert drawing.data.height >= 1


def test_accuracy_against_rho_keeps_both_intervals():
    panel = PerformancePanel(
        "run", (0, 10), (Value(0.1, 0.0, 0.2, "a"), Value(None)), (Value(5.0, 2.0, 9.0, "b"), Value(6.0))
    )
    rows = performance_figure("f", [panel], rho_label="rho").data.to_dicts()
    assert rows[0] == {
        "panel": "run",
        "step": 0,
        "rho": 0.1,
        "rho_low": 0.0,
        "rho_high": 0.2,
        "accuracy": 5.0,
        "accuracy_low": 2.0,
        "accuracy_high": 9.0,
        "rho_source": "a",
        "accuracy_source": "b",
    }
    assert rows[1]["rho"] is None


def test_without_accuracy_there_is_one_row_of_panels():
    columns = [RunsColumn("qwen2", (line("a"), line("b")))]
    data = runs_figure("f", columns, rho_label="rho").data
    assert set(data["quantity"]) == {"rho"}
