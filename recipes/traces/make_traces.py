"""Write reasoning traces for tasks of reasoning-gym, as JSON lines.

    python recipes/traces/make_traces.py --output out/traces

OUTPUT gets train.jsonl, validation.jsonl and test.jsonl. A line has id, prompt, completion (a trace
`<think>...</think><answer>...</answer>`), answer, task and split. `corrpo train sft` reads prompt and
completion, the other stages prompt and answer, `corrpo evaluate` prompt and answer of test.jsonl. `corrpo
measure` and `corrpo track` take the completions of test.jsonl as responses; test_prompts.jsonl has the same
problems without them, so that responses are the model's own. traces.json has the settings.
"""

import hashlib
import json
import shutil
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import tyro

from corrpo.errors import BadInputError, OutputFolderError
from reasoning_traces import TASKS
from reasoning_traces.splits import as_chat, make_splits


def make_traces(
    output: Path,
    train: int = 14_000,
    validation: int = 280,
    test: int = 700,
    tasks: tuple[str, ...] = tuple(TASKS),
    length: Literal["brief", "short", "long"] = "short",
    chat: bool = False,
    seed: int = 0,
) -> None:
    """Write reasoning traces for tasks of reasoning-gym as JSON lines.

    Args:
        output: folder of the files, new or empty.
        train: rows to learn from, the tasks in turn.
        validation: rows to evaluate on while training.
        test: held-out rows.
        tasks: which tasks.
        length: brief is some 30 to 150 tokens, short some 60 to 200, long some 150 to 600:
            larger problems, and more checks.
        chat: prompts and completions as chat messages, for models with a chat template.
        seed: of problems, slips and words.
    """
    sizes = {"train": train, "validation": validation, "test": test}
    unknown = [task for task in tasks if task not in TASKS]
    if unknown or not tasks or seed < 0 or any(size < len(tasks) for size in sizes.values()):
        raise BadInputError(
            f"tasks={' '.join(tasks)}, sizes {sizes}, seed={seed}: expected tasks out of "
            f"{', '.join(TASKS)}, a row of each task or more in every file, and a seed of 0 or more"
        )
    if output.exists() and any(output.iterdir()):
        raise OutputFolderError(f"{output} is not empty; give another folder")
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    splits = make_splits(sizes, tasks, length, seed)
    if chat:
        splits = {split: [as_chat(row) for row in rows] for split, rows in splits.items()}
    kept = ("id", "prompt", "answer", "task", "split")
    files = {f"{split}.jsonl": rows for split, rows in splits.items()}
    files["test_prompts.jsonl"] = [{name: row[name] for name in kept} for row in splits["test"]]
    record = {
        "length": length,
        "chat": chat,
        "seed": seed,
        "reasoning_gym": version("reasoning-gym"),
        "files": {},
    }
    for name, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        (partial / name).write_bytes(text)
        counts = dict(Counter(row["task"] for row in rows))
        record["files"][name] = {"rows": counts, "sha256": hashlib.sha256(text).hexdigest()}
    (partial / "traces.json").write_text(json.dumps(record, indent=1) + "\n")
    partial.replace(output)
    print(output)


if __name__ == "__main__":
    try:
        tyro.cli(make_traces)
    except (BadInputError, OutputFolderError) as error:
        raise SystemExit(f"make_traces.py: {error}") from None
