"""Which runs go on from others, and which can be set side by side, by the weights that they start from."""

from pathlib import Path

from corrpo.measurement.trajectory import Point, Trajectory
from corrpo.models.checkpoints import Checkpoint
from corrpo.report.run_groups import continuations, runs_from_one_start


def run(label, *weights):
    """A run with a checkpoint for each of `weights`, of which the first is its start."""
    points = [
        Point(Checkpoint("rl", step, step, f"out/{step}"), Path(label), digest, {}, None, None, None)
        for step, digest in enumerate(weights)
    ]
    return Trajectory(label, Path(label), tuple(points), {}, {})


def test_a_run_goes_on_from_the_one_that_made_its_first_weights():
    sft, grpo, corrpo = (
        run("m/sft", "base", "tuned"),
        run("m/grpo", "tuned", "g"),
        run("m/corrpo", "tuned", "c"),
    )
    assert continuations([sft, grpo, corrpo]) == {"m/grpo", "m/corrpo"}
    assert runs_from_one_start([sft, grpo, corrpo]) == [[grpo, corrpo]]


def test_a_run_whose_weights_have_not_moved_goes_on_from_no_other():
    still, moved = run("m/still", "base", "base", "base"), run("m/moved", "base", "b")
    assert continuations([still]) == continuations([still, moved]) == set()
    assert runs_from_one_start([still, moved]) == [[still, moved]]


def test_runs_of_other_families_have_nothing_to_do_with_one_another():
    assert continuations([run("m/sft", "base", "tuned"), run("n/grpo", "tuned", "g")]) == set()
