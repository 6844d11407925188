"""Long chains of reasoning for tasks of reasoning-gym, written by programs: one file for each task."""

from reasoning_traces import (
    chain_sums,
    countdown,
    equations,
    knights,
    leg_counts,
    sequences,
    word_problems,
)

TASKS = {
    module.TASK.name: module.TASK
    for module in (word_problems, chain_sums, leg_counts, equations, sequences, countdown, knights)
}
"""Name -> task, the name being that of reasoning-gym."""
