"""Rho against what costs nothing, as a detector of bad generations on the lab; and what watching costs.

Low are: wrong answers of a reasoning model among its own; or answers of its base model among its right
ones, all read by the reasoning model. An AUC is the probability that a low generation has the higher value:
0.5 tells nothing, and below 0.5 the low ones have lower values. Intervals resample problems (percentiles).
"""

import argparse

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import heading, least_seconds, table
from corrpo.entropy import token_logprob
from corrpo.generation import generate
from corrpo.lab import FAMILIES, checkpoint
from corrpo.lab.problems import held_out_problems, is_solved
from corrpo.lab.tokenizer import chat_prompt
from corrpo.monitor import Monitor
from corrpo.monitor.calibration import area_under_curve

DETECTORS = ("rho", "highest running rho", "mean entropy", "mean log-probability", "self-certainty", "length")
Row = tuple[int, str, list[float]]


def loaded(family: str, kind: str):
    folder = checkpoint(family, kind)
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def values(monitor: Monitor, model, prompt: list[int], response: list[int]) -> list[float]:
    """Every detector of one generation; NaN for no rho."""
    scored = monitor.score(prompt, response)
    ids = torch.tensor([prompt + response])
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    logp = torch.log_softmax(logits, -1)
    certainty = -(logp.mean(-1) + np.log(logp.shape[-1])).mean()  # KL of the uniform distribution and p
    rho = np.nan if scored.rho is None else scored.rho.value
    highest = np.nan if scored.highest is None else scored.highest
    logprob = token_logprob(logits, ids[0, len(prompt) :]).mean()
    return [rho, highest, scored.mean_entropy, float(logprob), float(certainty), scored.tokens]


def rows_of(family: str, problems: int, each: int) -> list[Row]:
    """Problem, kind (right, wrong, base) and detectors of every generation."""
    model, tokenizer = loaded(family, "reasoning")
    base, _ = loaded(family, "base")
    monitor = Monitor(model, tokenizer)
    chosen = held_out_problems(problems)
    prompts = [monitor.prompt_ids(chat_prompt(problem.question)) for problem in chosen]
    rows: list[Row] = []
    for writer in ("reasoning", "base"):
        for seed in range(each if writer == "reasoning" else 1):
            written = generate(
                model if writer == "reasoning" else base, tokenizer, prompts, max_new_tokens=160, seed=seed
            )
            for number, (problem, answer) in enumerate(zip(chosen, written, strict=True)):
                ids = [token for token in answer.ids if token not in monitor.ends]
                if not ids:
                    continue
                kind = "right" if is_solved(tokenizer.decode(ids), problem.answer) else "wrong"
                kind = "base" if writer == "base" else kind
                rows.append((number, kind, values(monitor, model, prompts[number], ids)))
    return rows


def auc_with_interval(rows: list[Row], low: str, normal: str, detector: int, resamples: int) -> str:
    """AUC [95 % interval]: problems are drawn with replacement."""
    found = [
        (p, k == low, v[detector]) for p, k, v in rows if k in (low, normal) and np.isfinite(v[detector])
    ]
    if len({positive for _, positive, _ in found}) < 2:
        return "none has it"
    problem, positive, value = (np.array(column) for column in zip(*found, strict=True))
    places = [np.flatnonzero(problem == each) for each in np.unique(problem)]
    rng = np.random.default_rng(0)

    def auc(chosen: np.ndarray) -> float:
        return area_under_curve(value[chosen][positive[chosen]], value[chosen][~positive[chosen]])

    drawn = [
        auc(np.concatenate([places[i] for i in rng.integers(len(places), size=len(places))]))
        for _ in range(resamples)
    ]
    ends = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{auc(np.arange(len(value))):.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"


def comparison(problems: int, each: int) -> None:
    with heading("Detecting low generations (AUC, 95 % interval over problems)"):
        columns, header = [], ["detector"]
        for family in FAMILIES:
            rows = rows_of(family, problems, each)
            counts = {kind: sum(row[1] == kind for row in rows) for kind in ("right", "wrong", "base")}
            without = sum(not np.isfinite(row[2][0]) for row in rows)
            print(f"{family}: {counts}, without rho {without}\n")
            for low in ("wrong", "base"):
                header.append(f"{family} {low}")
                columns.append([auc_with_interval(rows, low, "right", i, 500) for i in range(len(DETECTORS))])
        table(header, [[name, *cells] for name, *cells in zip(DETECTORS, *columns, strict=True)])


def cost() -> None:
    model, tokenizer = loaded("qwen2", "reasoning")
    monitor = Monitor(model, tokenizer)
    prompt = monitor.prompt_ids("What is 58 + 67?")
    written = [token.token for token in monitor.watch(prompt, temperature=0)]
    n = len(written)
    seconds = least_seconds(
        {
            "generate, unwatched": lambda: generate(
                model, tokenizer, [prompt], max_new_tokens=n, temperature=0
            ),
            "watch": lambda: list(monitor.watch(prompt, max_new_tokens=n, temperature=0)),
            "score the finished text": lambda: monitor.score(prompt, written),
        },
        3,
    )
    plain = seconds["generate, unwatched"]
    with heading(f"What it costs, {n} tokens, the lab's Qwen2"):
        rows = [[name, f"{1000 * t / n:.2f}", f"{t / plain:.2f}"] for name, t in seconds.items()]
        table(["what", "ms a token", "of unwatched generation"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--each", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    comparison(options.problems, options.each)
    cost()


if __name__ == "__main__":
    main()
