"""Rollouts in groups, and every signal of their tokens: the measurements that `table.py` reads. Resumable.

    python benchmarks/fidelity/rollouts.py MODEL OUT [--samples FILE] [--groups 12] [--rollouts 8] ...

A group is one problem of the samples, taken evenly from the file, answered several times at temperature 1.
OUT gets rollouts.jsonl, logits/NUMBER.parquet with entropies and the squared gradient at the logits, and
SIGNAL/NUMBER.parquet for each signal, a file a group, a row a token. What is there is not done again, so a
signal can be added later. Files come group by group, the first group of all signals first, and
OUT.parquet, which holds all of them, is written anew after each group.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from signals import SIGNALS, logits_signals, strengths
from tokens import joined

from corrpo import load_model
from corrpo.jobs.files import write_parquet, write_text
from corrpo.lab import sample_location
from corrpo.models.generation.backends.transformers import generate
from corrpo.samples import encode_prompt, load_samples

SAMPLES = Path(__file__).parents[2] / "recipes" / "real" / "samples" / "reasoning.jsonl"


def rollouts(model: Any, tokenizer: Any, options: Namespace) -> list[dict[str, Any]]:
    """The rollouts of OUT/rollouts.jsonl, written now if not there: group, and ids of prompt and response."""
    path = options.out / "rollouts.jsonl"
    if not path.exists():
        written = []
        samples = load_samples(sample_location(options.samples))
        for group, sample in enumerate(samples[:: len(samples) // options.groups][: options.groups]):
            prompt = encode_prompt(sample, tokenizer)
            answers = generate(
                model, tokenizer, [prompt] * options.rollouts, max_new_tokens=options.tokens, seed=group
            )
            written += [{"group": group, "prompt": prompt, "response": list(a.ids)} for a in answers]
        write_text(path, "".join(json.dumps(rollout) + "\n" for rollout in written))
    return [json.loads(line) for line in path.read_text().splitlines()]


def measured(model: Any, group: list[dict[str, Any]], measure: Any) -> pl.DataFrame:
    """A row per token of a group: rollout, position in the response, and what `measure` gives of it."""
    tables = []
    for number, rollout in enumerate(group):
        start, end = len(rollout["prompt"]), len(rollout["prompt"]) + len(rollout["response"])
        ids = torch.tensor(rollout["prompt"] + rollout["response"])
        places = {"rollout": [number] * (end - start), "position": list(range(end - start))}
        tables.append(pl.DataFrame(places | measure(model, ids, range(start, end))))
    return pl.concat(tables).cast({pl.Float64: pl.Float32, pl.List(pl.Float64): pl.List(pl.Float32)})


def main() -> None:
    """Measure what is not there yet."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", default=str(SAMPLES), help="prompts (JSONL), or lab:reasoning")
    parser.add_argument("--groups", type=int, default=12)
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--signals", nargs="+", default=[signal.name for signal in SIGNALS])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load_model(options.model, device="cpu", dtype="float32")
    all_rollouts = rollouts(model, tokenizer, options)
    measures = {"logits": logits_signals} | {
        signal.name: (lambda *given, signal=signal: strengths(*given, signal))
        for signal in SIGNALS
        if signal.name in options.signals
    }
    last = {signal.name: signal.groups or options.groups for signal in SIGNALS}
    for number in range(options.groups):
        group = [rollout for rollout in all_rollouts if rollout["group"] == number]
        for name, measure in measures.items():
            path = options.out / name / f"{number:02d}.parquet"
            if path.exists() or number >= last.get(name, options.groups):
                continue
            path.parent.mkdir(exist_ok=True)
            write_parquet(path, measured(model, group, measure))
            print(f"group {number}: {name}", flush=True)
        write_parquet(options.out.with_name(f"{options.out.name}.parquet"), joined(options.out))


if __name__ == "__main__":
    main()
