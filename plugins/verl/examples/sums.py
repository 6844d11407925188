"""Sums of the lab for verl: `python sums.py FILE.jsonl` writes prompts, `compute_score` is their reward."""

import json
import sys
from pathlib import Path
from typing import Any

from corrpo import is_correct
from corrpo.lab import sample_set

REQUEST = " Think step by step, and end with the answer alone in <answer> and </answer>."


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
    """1 for the right answer in <answer>...</answer>, or else 0; the arguments are those of verl's rewards.

    >>> compute_score("sums", "2 + 2 is <answer>4</answer>", "4")
    1.0
    """
    return float(is_correct(solution_str, ground_truth, "exact"))


def rows() -> list[dict[str, Any]]:
    """The lab's samples of sums in the columns that verl reads."""
    samples = map(json.loads, sample_set("reasoning").read_text(encoding="utf-8").splitlines())
    return [
        {
            "data_source": "sums",
            "prompt": [{"role": "user", "content": sample["prompt"][0]["content"] + REQUEST}],
            "reward_model": {"style": "rule", "ground_truth": sample["answer"]},
            "extra_info": {"index": number},
        }
        for number, sample in enumerate(samples)
    ]


if __name__ == "__main__":
    lines = "".join(json.dumps(row) + "\n" for row in rows())
    Path(sys.argv[1]).write_text(lines, encoding="utf-8")
