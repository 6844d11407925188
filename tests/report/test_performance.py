"""Accuracy and rho of a run, checkpoint by checkpoint, and how the two go together."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from corrpo.errors import BadInputError
from corrpo.evaluation.results import GENERATIONS_SCHEMA, Evaluation
from corrpo.measurement.trajectory import Trajectory
from corrpo.report.checkpoint_performance import join_performance, performance_table
from corrpo.statistics import partial_spearman, spearman
from corrpo.statistics.accuracy_estimate import estimate_average, estimate_pass_at_k
from report.fingerprints import make_fingerprint

STEPS = (0, 50, 100, 150, 200, 250)
SLOPES = (-0.05, -0.4, -0.15, -0.3, -0.9, -0.6)
CHANCES = (0.2, 0.35, 0.5, 0.4, 0.8, 0.6)
PROBLEMS, N = 40, 4


def trajectory(folder, steps=STEPS, slopes=SLOPES, **shape):
    """The output of a FingerprintCallback: step-000050 and so on; entropy is constant at a slope of None."""
    for step, slope in zip(steps, slopes, strict=True):
        made = make_fingerprint(
            slope or 0.0,
            model=f"step-{step}",
            settings={"confidence": 0.95},
            seed=step,
            constant=slope is None,
            **shape,
        )
        made.save(folder / f"step-{step:06d}")
    return Trajectory.load(folder, "qwen2/grpo")


def evaluation(step, chance, *, suite="sums", problems=PROBLEMS, n=N, digest="sha256:sums"):
    """What `corrpo evaluate` finds for one checkpoint; the later problems are easier at every one."""
    rng = np.random.default_rng(step)
    chances = np.clip(chance + np.linspace(-0.3, 0.3, problems), 0, 1)
    correct = (rng.random((problems, n)) < chances[:, None]).tolist()
    return Evaluation(
        model={"name": "grpo", "digest": f"sha256:step-{step}"},
        checkpoint={"stage": "grpo", "step": step, "at": step, "key": f"grpo/step-{step:06d}"},
        suite={"name": suite, "digest": digest},
        settings={"n": n},
        versions={},
        estimates={
            "pass@1": estimate_pass_at_k(correct, 1),
            "pass@4": estimate_pass_at_k(correct, 4),
            "average@4": estimate_average(correct),
        },
        counts={},
        generations=pl.DataFrame(
            {
                "problem": [f"p{i}" for i in range(problems) for _ in range(n)],
                "correct": [right for verdicts in correct for right in verdicts],
            },
            schema={name: GENERATIONS_SCHEMA[name] for name in ("problem", "correct")},
        ),
    )


def evaluations(steps=STEPS, chances=CHANCES, **how):
    return [evaluation(step, chance, **how) for step, chance in zip(steps, chances, strict=True)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trajectory(tmp_path_factory.mktemp("runs") / "grpo", samples=8, length=20)


def test_accuracy_stands_beside_rho_at_each_checkpoint(run):
    evaluated = evaluations()
    result = join_performance(run, evaluated, "sums")
    assert (result.label, result.suite, result.measure, result.left_out) == (
        "qwen2/grpo",
        "sums",
        "pass@1",
        (),
    )
    assert [point.global_step for point in result.points] == list(STEPS)
    for point, measured, evaluation in zip(result.points, run.points, evaluated, strict=True):
        assert point.key == measured.checkpoint.key == evaluation.checkpoint["key"]
        assert (point.rho, point.fingerprint) == (measured.spearman, measured.folder)
        assert point.accuracy == evaluation.estimates["pass@1"]


def test_the_rank_correlation_is_that_of_the_values_shown(run):
    result = join_performance(run, evaluations(), "sums")
    rhos = [point.rho.value for point in result.points]
    accuracies = [point.accuracy.value for point in result.points]
    assert result.association.value == pytest.approx(spearman(rhos, accuracies))
    assert result.association.n_points == len(STEPS)
    assert result.association.low < result.association.value < result.association.high
    assert result.association_given_step.value == pytest.approx(partial_spearman(rhos, accuracies, STEPS))


def test_the_order_of_the_evaluations_and_other_suites_are_nothing(run):
    evaluated = evaluations()
    others = evaluations(chances=CHANCES[::-1], suite="products", digest="sha256:products")
    assert join_performance(run, [*others, *evaluated[::-1]], "sums") == join_performance(
        run, evaluated, "sums"
    )


def test_the_seed_decides_the_interval(run):
    first, again, other = (join_performance(run, evaluations(), "sums", seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.association.value == other.association.value
    assert first.association.high != other.association.high


def test_pass_at_k_and_the_average(run):
    evaluated = evaluations()
    first = join_performance(run, evaluated, "sums")
    average = join_performance(run, evaluated, "sums", measure="average@4")
    four = join_performance(run, evaluated, "sums", measure="pass@4")
    assert average.association == first.association
    assert [point.accuracy for point in four.points] == [
        evaluation.estimates["pass@4"] for evaluation in evaluated
    ]
    assert four.association != first.association


def test_checkpoints_that_only_one_of_the_two_has_are_left_out_and_named(run):
    extra = evaluation(300, 0.9)
    result = join_performance(run, [*evaluations()[1:], extra], "sums")
    assert [point.global_step for point in result.points] == list(STEPS[1:])
    assert result.left_out == ("grpo/step-000000", "grpo/step-000300")


def test_fewer_than_four_checkpoints_have_no_rank_correlation(run):
    result = join_performance(run, evaluations()[:3], "sums")
    assert len(result.points) == 3
    for association in (result.association, result.association_given_step):
        assert (association.value, association.n_points) == (None, 3)
        assert "expected 4 or more" in association.reason


def test_nothing_in_common_is_no_performance(run):
    assert join_performance(run, evaluations(), "products") is None
    assert join_performance(run, [], "sums") is None


def test_a_checkpoint_without_rho_is_a_point_but_not_in_the_rank_correlation(tmp_path):
    run = trajectory(tmp_path / "grpo", slopes=(None, *SLOPES[1:]), samples=8, length=20)
    result = join_performance(run, evaluations(), "sums")
    assert result.points[0].rho.value is None
    assert len(result.points) == 6
    assert result.association.n_points == 5
    assert result.association.low is not None


def test_where_nothing_exists_the_reason_is_reported(run):
    evaluated = [
        replace(evaluation, estimates={"pass@8": estimate_pass_at_k([[True]], 8)})
        for evaluation in evaluations()
    ]
    result = join_performance(run, evaluated, "sums", measure="pass@8")
    assert result.association.n_points == 0
    assert result.association.reason == "at no checkpoint both rho and accuracy exist"


def test_a_sample_that_a_checkpoint_lacks_weighs_nothing_there(tmp_path):
    """The last checkpoint has skipped half of the samples."""
    run = trajectory(tmp_path / "grpo", steps=STEPS[:-1], slopes=SLOPES[:-1], samples=12, length=20)
    made = make_fingerprint(
        -0.7, model="step-250", settings={"confidence": 0.95}, samples=6, length=20, seed=250
    )
    made.save(tmp_path / "grpo" / "step-000250")
    run = Trajectory.load(tmp_path / "grpo")
    result = join_performance(run, evaluations(), "sums")
    assert result.association.n_points == 6
    assert result.association.low is not None


def test_one_sample_or_one_problem_has_no_halves(tmp_path, run):
    one = join_performance(run, evaluations(problems=1, n=8), "sums")
    assert one.association.low is None
    assert "halves" in one.association.reason
    single = trajectory(tmp_path / "grpo", samples=1, length=40)
    assert join_performance(single, evaluations(), "sums").association.low is None


def test_other_weights_are_refused(run):
    evaluated = evaluations()
    evaluated[2] = replace(evaluated[2], model={"name": "grpo", "digest": "sha256:other"})
    with pytest.raises(BadInputError, match=r"grpo/step-000100: the weights .*sha256:other"):
        join_performance(run, evaluated, "sums")
    unknown = [replace(evaluation, model={"name": "grpo", "digest": None}) for evaluation in evaluations()]
    assert join_performance(run, unknown, "sums") is not None


def test_other_problems_are_refused(run):
    evaluated = evaluations()
    evaluated[1] = evaluation(50, 0.3, problems=30, digest="sha256:fewer")
    with pytest.raises(BadInputError, match="grpo/step-000050 was evaluated on other problems of sums"):
        join_performance(run, evaluated, "sums")


@pytest.mark.parametrize("measure", ["majority@4", "pass", "pass@0", "pass@x"])
def test_measures_that_have_no_value_for_each_problem_are_refused(run, measure):
    with pytest.raises(BadInputError, match=rf"measure '{measure}': expected pass@K or average@N"):
        join_performance(run, evaluations(), "sums", measure=measure)


def test_the_table_has_every_number_and_its_source(run):
    result = join_performance(run, evaluations(), "sums")
    table = result.table()
    assert table.height == len(STEPS)
    row = table.row(3, named=True)
    point = result.points[3]
    assert (row["stage"], row["step"], row["rho"], row["rho_low"]) == (
        "grpo",
        150,
        point.rho.value,
        point.rho.low,
    )
    assert (row["accuracy"], row["accuracy_high"]) == (point.accuracy.value, point.accuracy.high)
    assert row["fingerprint"] == str(run.folder / "step-000150")
    assert performance_table([result, result]).height == 2 * len(STEPS)
    assert performance_table([]).columns == table.columns
