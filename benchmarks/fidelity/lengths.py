"""`pruned` and `own` beside `exact` at growing lengths: agreement, time and memory. Resumable.

    python benchmarks/fidelity/lengths.py MODEL OUT [--lengths 64 128 ...] [--texts 8] [--targets 8]

A text is prompts and the model's own responses to them, one after the other, until it is long enough; it is
cut at each length, and tokens of its last quarter that the model wrote are measured. OUT gets texts.jsonl,
LENGTH/ESTIMATOR.parquet with a row a target, and memory.json; the table is printed at the end. Times are CPU
seconds, memory is the most that tensors take at one time while the targets of one text are measured.
"""

import json
import time
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch

from common import heading, shown, table
from corrpo import load_model
from corrpo.jobs.files import read_json, write_json, write_parquet, write_text
from corrpo.lab import sample_location
from corrpo.models.generation.backends.transformers import generate
from corrpo.models.probing import peak_bytes_of
from corrpo.samples import encode_prompt, load_samples
from corrpo.statistics import correlate
from corrpo.strength.entropy import token_entropy
from corrpo.strength.gradient_norms import logit_gradient_norms

SAMPLES = Path(__file__).parents[2] / "recipes" / "real" / "samples" / "reasoning.jsonl"
ESTIMATORS: dict[str, dict[str, Any]] = {
    "exact": {"estimator": "exact"},
    "pruned-32": {"estimator": "pruned", "kept": 32},
    "pruned-16": {"estimator": "pruned", "kept": 16},
    "pruned-8": {"estimator": "pruned", "kept": 8},
    "own": {"estimator": "own"},
}
TURN_TOKENS = 256


def texts(model: Any, tokenizer: Any, options: Namespace) -> list[dict[str, list[int]]]:
    """Token ids, and positions of those that the model wrote, of the texts of OUT/texts.jsonl."""
    path = options.out / "texts.jsonl"
    if not path.exists():
        samples = load_samples(sample_location(options.samples))
        prompts = sorted((encode_prompt(sample, tokenizer) for sample in samples), key=len)
        answers = generate(model, tokenizer, prompts, max_new_tokens=TURN_TOKENS)
        turns = [(prompt, answer.ids) for prompt, answer in zip(prompts, answers, strict=True)]
        made = [one_text(turns, number, options) for number in range(options.texts)]
        write_text(path, "".join(json.dumps(text) + "\n" for text in made))
    return [json.loads(line) for line in path.read_text().splitlines()]


def one_text(
    turns: list[tuple[list[int], list[int]]], number: int, options: Namespace
) -> dict[str, list[int]]:
    """Prompts and responses to them, one text taking every `options.texts`-th, the shortest prompts first."""
    ids: list[int] = []
    written: list[int] = []
    order = sorted(range(len(turns)), key=lambda turn: ((turn - number) % options.texts, turn))
    for prompt, answer in (turns[turn] for turn in order):
        ids += prompt
        written += range(len(ids), len(ids) + len(answer))
        ids += answer
    longest = max(options.lengths)
    if len(ids) < longest:
        raise SystemExit(
            f"all samples make {len(ids)} tokens: give more samples, or --lengths below {longest}"
        )
    return {"ids": ids[:longest], "written": [position for position in written if position < longest]}


def targets(text: dict[str, list[int]], length: int, count: int) -> list[int]:
    """At most `count` positions the model wrote, spread evenly over the last quarter before `length`."""
    written = [p for p in text["written"] if length * 3 // 4 <= p < length]
    step = max(1, len(written) // count)
    return written[::step][:count]


def measured(model: Any, text: dict[str, list[int]], length: int, count: int, name: str) -> pl.DataFrame:
    """Strength, entropy and CPU seconds of the targets of a text."""
    ids, positions = torch.tensor(text["ids"][:length]), targets(text, length, count)
    start = time.process_time()
    norms = logit_gradient_norms(model, ids, positions, **ESTIMATORS[name]).mean((1, 2))
    seconds = (time.process_time() - start) / len(positions)
    with torch.no_grad():
        places = torch.tensor(positions) - 1
        entropy = token_entropy(model(input_ids=ids[None], use_cache=False, logits_to_keep=places).logits[0])
    return pl.DataFrame(
        {
            "position": positions,
            "entropy": entropy.double().tolist(),
            "strength": norms.double().tolist(),
            "seconds": [seconds] * len(positions),
        }
    )


def measure_all(model: Any, given: list[dict[str, list[int]]], options: Namespace) -> None:
    """Write the Parquet files that are not there yet, the shortest length of all estimators first."""
    for length in options.lengths:
        for name in ESTIMATORS:
            path = options.out / str(length) / f"{name}.parquet"
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                tables = [
                    measured(model, text, length, options.targets, name).with_columns(text=pl.lit(number))
                    for number, text in enumerate(given)
                    if targets(text, length, options.targets)
                ]
                if not tables:
                    written = f"no text has a response between {length * 3 // 4} and {length} tokens"
                    raise SystemExit(f"{written}: the prompts are longer; give other --lengths")
                write_parquet(path, pl.concat(tables))
                print(f"{length} tokens: {name}", flush=True)


def memory(model: Any, given: list[dict[str, list[int]]], options: Namespace) -> dict[str, float]:
    """MiB of tensors while a text is measured, by "LENGTH ESTIMATOR": OUT/memory.json, completed."""
    path = options.out / "memory.json"
    known = read_json(path) if path.exists() else {}
    for length in options.lengths:
        text = next(text for text in given if targets(text, length, options.targets))
        for name in ESTIMATORS:
            if f"{length} {name}" not in known:
                call = partial(measured, model, text, length, options.targets, name)
                known[f"{length} {name}"] = peak_bytes_of(call, torch.device("cpu")) / 2**20
                write_json(path, known)
    return known


def rows(options: Namespace, peaks: dict[str, float]) -> list[list[str]]:
    """A row per length and estimator."""
    made = []
    for length in options.lengths:
        found = {name: pl.read_parquet(options.out / str(length) / f"{name}.parquet") for name in ESTIMATORS}
        truth = found["exact"]
        texts_of = truth["text"].to_numpy()
        rho = correlate(truth["entropy"], truth["strength"], texts_of, permutations=0).value
        for name, one in found.items():
            own = correlate(one["entropy"], one["strength"], texts_of, permutations=0).value
            agreement = correlate(
                truth["strength"], one["strength"], truth["text"].to_numpy(), permutations=0
            )
            ratio = truth["seconds"].sum() / one["seconds"].sum()
            cells = [shown(agreement, 3), "" if own is None or rho is None else f"{own - rho:+.3f}"]
            cells += [f"{one['seconds'].mean():.2f} s", f"{ratio:.1f}"]
            made.append(
                [f"{length:,}", name, f"{one.height}", *cells, f"{peaks[f'{length} {name}']:.0f} MiB"]
            )
    return made


def main() -> None:
    """Measure what is not there yet, and print the table."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", default=str(SAMPLES), help="prompts (JSONL), or lab:reasoning")
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--targets", type=int, default=8)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load_model(options.model, device="cpu", dtype="float32")
    given = texts(model, tokenizer, options)
    measure_all(model, given, options)
    header = ["tokens", "estimator", "targets", "Spearman with exact", "shift of rho"]
    header += ["CPU time a target", "exact / this", "memory"]
    with heading(f"{options.out.name}: agreement, time and memory with length"):
        table(header, rows(options, memory(model, given, options)))


if __name__ == "__main__":
    main()
