"""What an evaluation of one model on one suite holds, and its files: every generation, and what follows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError
from corrpo.jobs.files import read_parquet, read_versioned, results_read, write_json, write_parquet
from corrpo.jobs.run_folder import is_whole
from corrpo.statistics.accuracy_estimate import Estimate

SCHEMA_VERSION = 1
EVALUATION, GENERATIONS = "evaluation.json", "generations.parquet"
EVALUATIONS = "evaluations.parquet"
"""The table of all evaluations below a folder; what makes a folder the output of `corrpo evaluate`."""
COUNTS = (
    "generations",
    "correct",
    "unfinished",
    "unparsed",
    "unreadable",
    "verifier_timeouts",
    "verifier_errors",
)
GENERATIONS_SCHEMA = {
    "problem": pl.String,
    "sample": pl.Int32,
    "prompt": pl.String,
    "response": pl.String,
    "n_tokens": pl.Int32,
    "finished": pl.Boolean,
    "answer": pl.String,
    "gold": pl.String,
    "correct": pl.Boolean,
    "verdict": pl.String,
}


@dataclass(frozen=True)
class Evaluation:
    """One model on one suite.

    Attributes:
        model: name, revision, backend, dtype, digest (of its weights; None where vLLM holds them).
        checkpoint: stage, step, at and key; see `corrpo.models.checkpoints.Checkpoint`.
        suite: name, source, revision, digest (SHA-256 of problems and answers), problems (how many).
        settings: n, temperature, prompt and everything else that decides the generations and their scores.
        versions: of corrpo, torch, transformers and Python, and of vllm if it wrote them.
        estimates: pass@k for each k, average@n, majority@n.
        counts: how many generations there are (`generations`), are right (`correct`), did not end
            (`unfinished`), have no answer that can be read (`unparsed`), stand against a right answer that is
            no mathematics (`unreadable`), or on which the verifier failed (`verifier_timeouts`,
            `verifier_errors`); all but the right ones count as wrong. `mean_tokens` is their mean length.
        generations: one row each: problem (id), sample (0 to n - 1), prompt, response, n_tokens, finished,
            answer (as read from the response; null for none), gold (the right answer; null where a task of
            reasoning-gym has no single one), correct, verdict.
    """

    model: dict[str, Any]
    checkpoint: dict[str, Any]
    suite: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    estimates: dict[str, Estimate]
    counts: dict[str, Any]
    generations: pl.DataFrame = field(repr=False)

    def save(self, folder: Path | str) -> None:
        """Write generations.parquet, then evaluation.json.

        Raises:
            OutputFolderError: the disk is full or the folder cannot be written to.
        """
        write_parquet(Path(folder) / GENERATIONS, self.generations)
        write_json(Path(folder) / EVALUATION, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """What evaluation.json holds: everything but the generations."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "checkpoint": self.checkpoint,
            "suite": self.suite,
            "estimates": {name: estimate.as_dict() for name, estimate in self.estimates.items()},
            "counts": self.counts,
            "settings": self.settings,
            "versions": self.versions,
        }

    @classmethod
    def load(cls, folder: Path | str) -> "Evaluation":
        """Read a folder that `save` wrote.

        Raises:
            BadInputError: there is no finished evaluation in the folder, or its schema is another.
        """
        summary = read_versioned(Path(folder) / EVALUATION, SCHEMA_VERSION, "evaluate again")
        with results_read(Path(folder), "evaluate again into a new folder"):
            return cls(
                model=summary["model"],
                checkpoint=summary["checkpoint"],
                suite=summary["suite"],
                settings=summary["settings"],
                versions=summary["versions"],
                estimates={name: Estimate.from_dict(record) for name, record in summary["estimates"].items()},
                counts=summary["counts"],
                generations=read_parquet(Path(folder) / GENERATIONS),
            )


def is_evaluated(folder: Path) -> bool:
    """Whether a folder holds a finished evaluation; one that is damaged is told of, and no longer counts."""
    done = folder / EVALUATION
    return done.exists() and is_whole(lambda: Evaluation.load(folder), done)


def suite_folder(suite: str) -> str:
    """Where the evaluation on a suite is below the folder of its model.

    >>> suite_folder("rg:chain_sum")
    'rg-chain_sum'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", suite).strip("-.") or "suite"


def evaluation_folder(key: str, suite: str) -> str:
    """Where an evaluation is below the output folder: KEY/SUITE.

    >>> evaluation_folder("grpo/step-000200", "rg:chain_sum")
    'grpo/step-000200/rg-chain_sum'
    """
    return f"{key}/{suite_folder(suite)}"


def load_evaluations(folder: Path | str) -> list[Evaluation]:
    """Every finished evaluation below an output folder of `corrpo evaluate`, in the order of training.

    Raises:
        BadInputError: there is none.
    """
    evaluations = [Evaluation.load(path.parent) for path in sorted(Path(folder).glob(f"**/{EVALUATION}"))]
    if not evaluations:
        raise BadInputError(f"{folder} holds no {EVALUATION}; give the output folder of corrpo evaluate")
    return sorted(evaluations, key=lambda one: (one.checkpoint["at"] or 0, one.checkpoint["key"]))


def evaluations_table(evaluations: Sequence[Evaluation]) -> pl.DataFrame:
    """A row per evaluation and measure.

    Columns: key, stage, step, at, model, revision, suite, measure, value, low, high, n_problems, n_samples,
    reason.
    """
    rows = [
        {
            **{name: evaluation.checkpoint[name] for name in ("key", "stage", "step", "at")},
            "model": evaluation.model["name"],
            "revision": evaluation.model["revision"],
            "suite": evaluation.suite["name"],
            "measure": measure,
            **estimate.as_dict(),
        }
        for evaluation in evaluations
        for measure, estimate in evaluation.estimates.items()
    ]
    schema: dict[str, Any] = {
        **dict.fromkeys(("key", "stage"), pl.String),
        **dict.fromkeys(("step", "at"), pl.Int64),
        **dict.fromkeys(("model", "revision", "suite", "measure"), pl.String),
        **dict.fromkeys(("value", "low", "high"), pl.Float64),
        **dict.fromkeys(("n_problems", "n_samples"), pl.Int64),
        "reason": pl.String,
    }
    return pl.DataFrame(rows, schema=schema)
