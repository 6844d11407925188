"""Figures over training: their axes, gaps and numbers."""

from dataclasses import replace
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from polars.testing import assert_frame_equal

from corrpo.report.figures.accuracy_and_rho_at_checkpoints import PerformancePanel, performance_figure
from corrpo.report.figures.rho_over_training import dynamics_figure
from corrpo.report.figures.runs_side_by_side import RunsColumn, runs_figure
from corrpo.report.plotting.figure_style import figure_style
from corrpo.report.plotting.run_lines import RunsPanel, add_legend, draw_line, line_looks
from corrpo.report.plotting.step_axis import StepAxis, draw_names, draw_steps
from corrpo.report.run_series import Line, Part, Value

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


STAGES = st.lists(st.sets(st.integers(0, 10**6), min_size=1, max_size=12).map(sorted), min_size=1, max_size=3)


@given(stages=STAGES, axis=st.sampled_from(["steps", "stretched", "fraction"]))
def test_on_every_axis_a_run_goes_to_the_right_and_stays_in_its_stage(stages, axis):
    run = line("a", *((f"stage {n}", tuple(steps)) for n, steps in enumerate(stages)))
    places = StepAxis([run], axis)
    low, high = places.span
    for n in range(len(stages)):
        x = places.places(run, n)
        assert all(a < b for a, b in pairwise(x))
        assert places.starts[n] <= x[0]
        assert x[-1] <= places.starts[n + 1] + 1e-9
        assert low <= x[0] <= x[-1] <= high + 1e-9


def drawn(run, places):
    axes = Figure().subplots()
    draw_line(axes, run, places, "black", "o")
    return axes


def test_a_stage_shorter_than_another_runs_is_joined_by_a_level_not_by_a_slope():
    short, long = line("a", ("sft", (0, 60)), ("rl", (10,))), line("b", ("sft", (0, 800)), ("rl", (10,)))
    axes = drawn(short, StepAxis([short, long], "steps"))
    x, y = axes.lines[0].get_data()
    assert x.tolist() == [0, 60, 60, 800, 810]
    assert np.isnan(y[2])
    assert y[3] == y[1]
    alone = drawn(short, StepAxis([short], "steps"))
    assert alone.lines[0].get_xdata().tolist() == [0, 60, 70]


def test_the_band_of_intervals_has_the_gaps_of_the_line():
    there, missing = Value(0.1, 0.0, 0.2), Value(None)
    run = Line("a", (Part("sft", (0, 10, 20, 30, 40), (there, there, missing, there, there)),))
    band = drawn(run, StepAxis([run], "steps")).collections[0]
    spans = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in band.get_paths()]
    assert spans == [(0, 10), (30, 40)]


def test_a_room_that_runs_share_has_the_names_of_all_their_stages():
    pure, r1 = line("a", ("grpo", (0, 60))), line("b", ("sft", (0, 60)), ("grpo", (10,)))
    published = line("c", ("theirs", (0, 60)), ("after", (10,)), ("last", (10,)), published=True)
    assert StepAxis([r1, pure, published], "steps").names == ["sft / grpo", "grpo", "last"]


def test_a_single_step_0_has_one_tick():
    assert StepAxis([line("a", ("sft", (0,)))], "steps").ticks() == ([0.0], ["0"])


@pytest.mark.parametrize("steps", [(1000, 60, 30), (10, 10, 1000), (5, 1000, 5), (100, 100, 100)])
def test_names_of_narrow_stages_do_not_stand_on_one_another(steps):
    run = line("a", *((name, (0, last)) for name, last in zip(("sft", "grpo", "corrpo"), steps, strict=True)))
    with figure_style("f"):
        figure = Figure(figsize=(3.4, 2.5), layout="constrained")
        axes = figure.subplots()
        places = StepAxis([run], "steps")
        draw_steps(axes, places)
        draw_names(axes, "qwen2", places)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in (*axes.texts, axes.title)]
        boxes.append(axes._left_title.get_window_extent())
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2) if a.width and b.width)
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


@pytest.mark.parametrize(("count", "width"), [(2, 3.4), (7, 4.6), (8, 6.8), (12, 6.8)])
def test_the_legend_stays_within_the_figure_and_takes_no_room_from_panels(count, width):
    lines = [line(f"{n}: a run with a long name, longer than most of them") for n in range(count)]
    with figure_style("f"):
        figure = Figure(figsize=(width, 3), layout="constrained")
        add_legend(figure, line_looks(lines))
        extent = figure.legends[0].get_window_extent()
        assert extent.width <= figure.bbox.width
        assert figure.get_figheight() == pytest.approx(3 + extent.height / figure.dpi)


def test_published_lines_come_last_in_the_legend():
    lines = [line("theirs", published=True), line("ours")]
    figure = Figure(layout="constrained")
    add_legend(figure, line_looks(lines))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "theirs"]


def test_colours_and_markers_of_many_runs_are_all_different():
    looks = list(line_looks([line(str(n)) for n in range(8)]).values())
    assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == 8


def test_rho_and_accuracy_of_a_family_have_one_axis_of_steps():
    rho = line("a", ("sft", (0, 50, 100)), ("rl", (10, 20)))
    accuracy = line("a", ("sft", (0, 100)))
    data = runs_figure("f", [RunsColumn("qwen2", (rho,), (accuracy,))], axis="stretched", rho_label="r").data
    x = {(row["quantity"], row["stage"], row["step"]): row["x"] for row in data.to_dicts()}
    assert x["rho", "sft", 100] == x["accuracy", "sft", 100] == 2


@pytest.mark.parametrize("axis", ["steps", "fraction", "stretched"])
@pytest.mark.parametrize(
    ("measured", "evaluated"),
    [("sft grpo", "grpo"), ("grpo", "sft grpo"), ("sft grpo rl", "sft rl"), ("sft rl", "grpo rl")],
)
def test_rho_and_accuracy_of_a_stage_have_one_place_whichever_stages_have_both(measured, evaluated, axis):
    rho, accuracy = (
        line("a", *((stage, (0, 50, 100)) for stage in stages.split())) for stages in (measured, evaluated)
    )
    data = runs_figure("f", [RunsColumn("qwen2", (rho,), (accuracy,))], axis=axis, rho_label="r").data
    x = {
        quantity: dict(data.filter(quantity=quantity).select("stage", "x").iter_rows())
        for quantity in ("rho", "accuracy")
    }
    assert x["rho"] | x["accuracy"] == x["accuracy"] | x["rho"]
    assert len(set(x["rho"].values()) | set(x["accuracy"].values())) == len({*x["rho"], *x["accuracy"]})


def test_accuracy_that_ends_before_rho_stands_at_its_part_of_the_stage():
    column = RunsColumn("qwen2", (line("a", ("sft", (0, 50, 100))),), (line("a", ("sft", (0, 50))),))
    data = runs_figure("f", [column], axis="fraction", rho_label="r").data
    assert data.filter(quantity="accuracy")["x"].to_list() == [0, 0.5]


def test_a_stage_without_values_is_a_gap():
    run = replace(line("a", ("sft", (0, 50)), ("rl", (10, 20))), stages=("sft", "grpo", "rl"))
    other = line("b", ("sft", (0, 50)), ("grpo", (0, 30)), ("rl", (0, 20)))
    places = StepAxis([run, other], "steps")
    assert places.names == ["sft", "grpo", "rl"]
    assert drawn(run, places).lines[0].get_xdata().tolist() == [0, 50, 50, 90, 100]


def test_a_family_without_accuracy_keeps_its_steps_below_rho():
    columns = [RunsColumn("qwen2", (line("a"),), (line("a"),)), RunsColumn("llama", (line("a"),))]
    svg = runs_figure("f", columns, rho_label="rho").svg()
    assert svg.count(">optimizer steps</text>") == 2


def test_checkpoints_without_a_value_are_counted_in_figure_4():
    panel = PerformancePanel("run", (0, 10), (Value(0.1), Value(None)), (Value(5.0), Value(6.0)))
    assert "no value at 1 of 2 checkpoints" in performance_figure("f", [panel], rho_label="rho").svg()
    nothing = PerformancePanel("run", (0,), (Value(None),), (Value(None),))
    assert "no value at 1 of 1 checkpoints" in performance_figure("f", [nothing], rho_label="rho").svg()


def some_drawings():
    run = line("a", ("sft", tuple(range(0, 400, 10))), ("rl", (10, 20)))
    values = tuple(Value(n / 10, n / 10 - 0.1, n / 10 + 0.1, "f") for n in range(5))
    panel = PerformancePanel("run", (0, 1, 2, 3, 4), values, values, "note")
    return [
        dynamics_figure("f3", [RunsPanel(str(n), (run,)) for n in range(4)], value_label="rho"),
        performance_figure("f4", [panel] * 3, rho_label="rho"),
        runs_figure("f5", [RunsColumn(str(n), (run,), (run,)) for n in range(3)], rho_label="rho"),
    ]


@pytest.mark.slow
def test_the_bytes_of_a_format_do_not_depend_on_what_was_written_before(tmp_path):
    for one, other in zip(some_drawings(), some_drawings(), strict=True):
        for drawing, order in ((one, ("svg", "pdf", "png")), (other, ("png", "pdf", "svg"))):
            (tmp_path / order[0]).mkdir(exist_ok=True)
            for suffix in order:
                drawing.write(tmp_path / order[0] / f"{drawing.name}.{suffix}")
        for suffix, begins in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG\r\n\x1a\n")):
            first, second = ((tmp_path / f / f"{one.name}.{suffix}").read_bytes() for f in ("svg", "png"))
            assert first.startswith(begins)
            assert first == second


def test_the_numbers_are_written_as_they_are_plotted(tmp_path):
    for drawing in some_drawings():
        drawing.write(tmp_path / "f.parquet")
        assert_frame_equal(pl.read_parquet(tmp_path / "f.parquet"), drawing.data)


def test_the_first_and_the_last_step_are_written_once():
    rho = tuple(Value(x) for x in (0.3, 0.2, 0.1, 0.0))
    accuracy = tuple(Value(y) for y in (20.0, 20.5, 21.0, 21.5))
    panel = PerformancePanel("run", (0, 100, 200, 3000), rho, accuracy)
    svg = performance_figure("f", [panel], rho_label="rho").svg()
    assert svg.count(">step 0</text>") == svg.count(">step 3,000</text>") == 1
    one = PerformancePanel("run", (7,), rho[:1], accuracy[:1])
    assert performance_figure("f", [one], rho_label="rho").svg().count(">step 7</text>") == 1
