"""Rho against what costs nothing, as a detector of bad generations on the lab; and what watching costs.

Low are: wrong answers of a reasoning model among its own; or answers of its base model among its right
ones, all read by the reasoning model. A signal and its negative are one detector, so every AUC is in a
direction: the probability that a low generation lies further to that side, 0.5 telling nothing. Under "fixed"
the direction is that of `DETECTORS`, written down beforehand, over all problems. Under "looked up" it is that
of the first half of the problems, and the AUC is of the other half. Intervals resample problems.
"""

import argparse

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import heading, least_seconds, table
from corrpo.lab import FAMILIES, checkpoint
from corrpo.lab.problems import held_out_problems, is_solved
from corrpo.lab.tokenizer import chat_prompt
from corrpo.models.generation.backends.transformers import generate
from corrpo.monitor import Monitor
from corrpo.monitor.calibration import area_under_curve
from corrpo.strength.entropy import token_logprob

DETECTORS = {
    "rho": 1,
    "highest running rho": 1,
    "mean entropy": 1,
    "mean log-probability": -1,
    "self-certainty": -1,
    "length": 1,
}
"""The side of low reasoning by each detector: 1 for high values. For rho it is the literature's: a strong
inversion, a low rho, goes with reasoning. Length has no such theory; its side was named after a first run."""
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


def rows_of(family: str, problems: int, per_problem: int) -> list[Row]:
    """Problem, kind (right, wrong, base) and detectors of every generation."""
    model, tokenizer = loaded(family, "reasoning")
    base, _ = loaded(family, "base")
    monitor = Monitor(model, tokenizer)
    chosen = held_out_problems(problems)
    prompts = [monitor.prompt_ids(chat_prompt(problem.question)) for problem in chosen]
    rows: list[Row] = []
    for writer in ("reasoning", "base"):
        for seed in range(per_problem if writer == "reasoning" else 1):
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


def looked_up(rows: list[Row], low: str, normal: str, detector: int) -> str:
    """The direction that the first half of the problems teaches, and the AUC of it on the other half."""
    middle = np.median([row[0] for row in rows])
    first = found_in([row for row in rows if row[0] <= middle], low, normal, detector)
    other = [row for row in rows if row[0] > middle]
    values = [[value for _, positive, value in first if positive == label] for label in (True, False)]
    if not all(values):
        return "none has it"
    side = 1 if area_under_curve(values[0], values[1]) >= 0.5 else -1
    return f"{'high' if side == 1 else 'low'}: {auc_with_interval(other, low, normal, detector, side, 500)}"


def found_in(rows: list[Row], low: str, normal: str, detector: int) -> list[tuple[int, bool, float]]:
    """Problem, whether it is low, and the detector's value, of generations that have one."""
    chosen = [row for row in rows if row[1] in (low, normal) and np.isfinite(row[2][detector])]
    return [(problem, kind == low, row[detector]) for problem, kind, row in chosen]


def auc_with_interval(
    rows: list[Row], low: str, normal: str, detector: int, side: int, resamples: int
) -> str:
    """AUC [95 % interval] of a side: problems are drawn with replacement."""
    scored = [(p, positive, side * value) for p, positive, value in found_in(rows, low, normal, detector)]
    if len({positive for _, positive, _ in scored}) < 2:
        return "none has it"
    problem, positive, value = (np.array(column) for column in zip(*scored, strict=True))
    places = [np.flatnonzero(problem == one) for one in np.unique(problem)]
    rng = np.random.default_rng(0)

    def auc(chosen: np.ndarray) -> float:
        return area_under_curve(value[chosen][positive[chosen]], value[chosen][~positive[chosen]])

    drawn = [
        auc(np.concatenate([places[i] for i in rng.integers(len(places), size=len(places))]))
        for _ in range(resamples)
    ]
    ends = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{auc(np.arange(len(value))):.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"


def comparison(problems: int, per_problem: int) -> None:
    with heading("Detecting low generations (AUC, 95 % interval over problems)"):
        columns = [["high" if side == 1 else "low" for side in DETECTORS.values()]]
        header = ["detector", "fixed side of low"]
        for family in FAMILIES:
            rows = rows_of(family, problems, per_problem)
            counts = {kind: sum(row[1] == kind for row in rows) for kind in ("right", "wrong", "base")}
            without = sum(not np.isfinite(row[2][0]) for row in rows)
            print(f"{family}: {counts}, without rho {without}\n")
            for low in ("wrong", "base"):
                header += [f"{family} {low}, fixed", f"{family} {low}, looked up"]
                sides = enumerate(DETECTORS.values())
                columns.append([auc_with_interval(rows, low, "right", i, side, 500) for i, side in sides])
                columns.append([looked_up(rows, low, "right", i) for i in range(len(DETECTORS))])
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


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--each", type=int, default=3)
    options = parser.parse_args(words)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        comparison(options.problems, options.each)
        cost()
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
