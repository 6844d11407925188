"""Draw the 64 problems of samples/reasoning.jsonl from reasoning-gym.

Half are word problems; the others want steps of other kinds. They are asked so that a model with a chat
template and one without can both be given the text as it stands.
"""

import json
from pathlib import Path

import reasoning_gym

TASKS = {
    "gsm_symbolic": 32,
    "leg_counting": 8,
    "calendar_arithmetic": 8,
    "family_relationships": 8,
    "number_sequence": 8,
}
SEED = 2026
PROMPT = "Solve the problem step by step, then give the answer.\n\nProblem: {question}\n\nSolution:"


def main() -> None:
    """Write the samples, with their answers."""
    lines = []
    for task, count in TASKS.items():
        problems = reasoning_gym.create_dataset(task, size=count, seed=SEED)
        for number, problem in enumerate(problems):
            record = {
                "id": f"{task}-{number:02d}",
                "prompt": PROMPT.format(question=problem["question"].strip()),
                "answer": problem["answer"],
            }
            lines.append(json.dumps(record, ensure_ascii=False))
    path = Path(__file__).parent / "samples" / "reasoning.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
