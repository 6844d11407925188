"""Trajectories and evaluations made in code, as `corrpo track` and `corrpo evaluate` leave them."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl

from corrpo.evaluation.results import (
    EVALUATIONS,
    GENERATIONS_SCHEMA,
    Evaluation,
    evaluations_table,
)
from corrpo.evaluation.scoring import counts, estimates
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.measurement.trajectory import TRACK
from corrpo.models.checkpoints import Checkpoint
from report.fingerprints import make_fingerprint


def checkpoints(stages):
    """(stage, steps) pairs to checkpoints, counted on from stage to stage."""
    result, passed = [], 0
    for stage, steps in stages:
        result += [Checkpoint(stage, step, passed + step, f"out/{stage}/checkpoint-{step}") for step in steps]
        passed += steps[-1]
    return result


def write_track(folder: Path, stages, *, start="start", weights=None, **options):
    """A trajectory whose rho falls from step to step; weights are called after `weights`, or the folder."""
    points = []
    for number, checkpoint in enumerate(checkpoints(stages)):
        model = start if number == 0 else f"{weights or folder}-{checkpoint.key}"
        fingerprint = make_fingerprint(0.1 - 0.15 * number, model=model, seed=3, length=20, **options)
        fingerprint.save(folder / checkpoint.key)
        points.append(checkpoint.as_dict())
    record = {
        "schema_version": 1,
        "settings": {"max_tokens": 4, "temperature": 1.0, "max_new_tokens": 160}
        | fingerprint.settings
        | {"confidence": 0.95},
        "samples": {name: fingerprint.samples[name] for name in ("name", "digest")},
        "points": points,
        "skipped": [{"source": "out/sft/checkpoint-90", "reason": "it has no weights"}],
    }
    (folder / TRACK).write_text(json.dumps(record))
    return folder


def write_evaluations(folder: Path, stages, *, start="start", temperature=1.0, track=None):
    """Evaluations on the lab's sums, more of which are right at each step."""
    suite = load_suite("lab:sums", problems=30)
    result = []
    for number, checkpoint in enumerate(checkpoints(stages)):
        right = [(problem * 7 + sample) % 10 < number + 2 for problem in range(30) for sample in range(2)]
        rows = {
            "problem": [str(i // 2) for i in range(60)],
            "sample": [i % 2 for i in range(60)],
            "prompt": ["?"] * 60,
            "response": ["<answer>1</answer>"] * 60,
            "n_tokens": [9] * 60,
            "finished": [True] * 60,
            "answer": ["1"] * 60,
            "gold": ["1"] * 60,
            "correct": right,
            "verdict": ["right" if r else "wrong" for r in right],
        }
        generations = pl.DataFrame(rows, schema=GENERATIONS_SCHEMA)
        digest = f"sha256:{start}" if number == 0 else f"sha256:{track or folder}-{checkpoint.key}"
        evaluation = Evaluation(
            model={"name": checkpoint.source, "revision": None, "digest": digest, "backend": "transformers"},
            checkpoint={
                "stage": checkpoint.stage,
                "step": checkpoint.step,
                "at": checkpoint.global_step,
                "key": checkpoint.key,
            },
            suite={"name": suite.name, "digest": suite.digest, "problems": 30},
            settings={"n": 2, "problems": 30, "temperature": temperature, "max_new_tokens": 160}
            | {"confidence": 0.95},
            versions={},
            estimates=estimates(suite, generations, (1, 2), 0.95),
            counts=counts(generations),
            generations=generations,
        )
        evaluation.save(folder / checkpoint.key / "lab-sums")
        result.append(evaluation)
    evaluations_table(result).write_parquet(folder / EVALUATIONS)
    return folder


def without_digest(evaluation: Evaluation) -> Evaluation:
    """As vLLM leaves it."""
    return replace(evaluation, model=evaluation.model | {"digest": None})
