"""What the lab's checkpoints learn from, and the three held-out sample sets that ship with them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corrpo.jobs.files import write_text
from corrpo.lab.build.chats import ASKS, harmless_request, refusal, unsafe_request, wishes
from corrpo.lab.build.plain_text import document, opening
from corrpo.lab.problems import direct_answer, held_out_problems, scratchpad, training_problems
from corrpo.lab.tasks import LabTask
from corrpo.lab.tasks.sums import SUMS
from corrpo.lab.tokenizer import ASSISTANT, EOS, USER, chat_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SAMPLES_PER_SET = 64
MIXTURES = {
    "base": {"text": 0.6, "direct": 0.25, "harmless": 0.15},
    "safety": {"refusal": 0.5, "harmless": 0.25, "text": 0.15, "direct": 0.1},
    "reasoning": {"worked": 0.92, "text": 0.05, "harmless": 0.03},
}
IGNORED = -100
POOL_BATCHES = 50


@dataclass(frozen=True)
class Example:
    """A training sequence: the loss is taken on the response (and its end marker) only."""

    prompt: str
    """Empty for plain text, otherwise a rendered chat up to the assistant's turn."""
    response: str
    """What is learned, without the end marker."""


def chat_example(request: str, reply: str) -> Example:
    """One chat turn as the chat template renders it."""
    return Example(f"{USER}{request}{ASSISTANT}", reply)


def examples(kind: str, count: int, seed: int, *, validation: int = 0, task: LabTask = SUMS) -> list[Example]:
    """`count` training examples of a kind's mixture (`MIXTURES`), free of every held-out sample.

    The first `validation` validation problems are left out too. What is worked out is of `task`; bare answers
    are to sums.

    >>> examples("base", 1, seed=0)
    [Example(prompt='<user>What is 60 + 90?<assistant>', response='<answer>150</answer>')]
    """
    rng = random.Random(f"{kind} {seed}")
    sources = rng.choices(list(MIXTURES[kind]), list(MIXTURES[kind].values()), k=count)
    fresh = partial(training_problems, seed=seed, validation=validation)
    problems, to_work = iter(fresh(sources.count("direct"))), iter(fresh(sources.count("worked"), task=task))
    texts = _training_texts(lambda: ("", document(rng)))
    chats = _training_texts(lambda: harmless_request(rng))
    made = []
    for source in sources:
        if source == "text":
            made.append(Example(*next(texts)))
        elif source == "harmless":
            made.append(chat_example(*next(chats)))
        elif source == "refusal":
            request, wish = unsafe_request(rng)
            made.append(chat_example(request, refusal(wish, rng)))
        elif source == "worked":
            problem = next(to_work)
            made.append(chat_example(problem.question, scratchpad(problem, rng)))
        else:
            problem = next(problems)
            made.append(chat_example(problem.question, direct_answer(problem)))
    return made


def _held_out_openings() -> list[str]:
    """The plain texts of the base sample set, all different."""
    rng = random.Random("held-out openings")
    unique = dict.fromkeys(opening(rng) for _ in range(2 * SAMPLES_PER_SET))
    return list(islice(unique, SAMPLES_PER_SET))


def _training_texts(draw: Callable[[], tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Endless draws of a request (empty for plain text) and a text that begins with no held-out opening."""
    held_out = tuple(_held_out_openings())
    while True:
        request, text = draw()
        if not text.startswith(held_out):
            yield request, text


def sample_rows(name: str, task: LabTask = SUMS) -> list[dict[str, Any]]:
    """The 64 held-out samples of a set: `id`, `prompt` (messages or plain text), `answer` if there is one.

    Those of `reasoning` are of `task`.

    >>> sample_rows("reasoning")[0]
    {'id': 'reasoning-000', 'prompt': [{'role': 'user', 'content': 'Calculate 42 - 25.'}], 'answer': '17'}
    """
    if name == "reasoning":
        rows = [
            {"prompt": chat_prompt(p.question), "answer": p.answer}
            for p in held_out_problems(SAMPLES_PER_SET, task)
        ]
    elif name == "safety":
        asked = [ask.format(wish) for wish in wishes(held_out=True) for ask in ASKS]
        chosen = random.Random("held-out requests").sample(asked, SAMPLES_PER_SET)
        rows = [{"prompt": chat_prompt(request)} for request in chosen]
    else:
        rows = [{"prompt": text} for text in _held_out_openings()]
    return [{"id": f"{name}-{index:03d}", **row} for index, row in enumerate(rows)]


def write_samples(folder: Path, names: Iterable[str], task: LabTask = SUMS) -> None:
    """Write one JSONL file per sample set into `folder`, each whole or not at all."""
    for name in names:
        lines = [json.dumps(row) + "\n" for row in sample_rows(name, task)]
        write_text(folder / f"{name}.jsonl", "".join(lines))


def encode(example: Example, tokenizer: PreTrainedTokenizerFast) -> dict[str, list[int]]:
    """`input_ids` and `labels` (lists of equal length) of an example; prompt labels are -100."""
    prompt = tokenizer.encode(example.prompt, add_special_tokens=False)
    response = tokenizer.encode(example.response + EOS, add_special_tokens=False)
    return {"input_ids": prompt + response, "labels": [IGNORED] * len(prompt) + response}


def in_batches_of_like_length(
    rows: list[dict[str, list[int]]], size: int, seed: int
) -> list[dict[str, list[int]]]:
    """The rows in an order that puts sequences of like length into the same batch of `size`.

    The order is fixed here and read sequentially, so that a resumed run sees the same batches.
    """
    rng = random.Random(seed)
    ordered = []
    for start in range(0, len(rows), POOL_BATCHES * size):
        pool = sorted(rows[start : start + POOL_BATCHES * size], key=lambda row: len(row["input_ids"]))
        batches = [pool[first : first + size] for first in range(0, len(pool), size)]
        rng.shuffle(batches)
        ordered += [row for batch in batches for row in batch]
    return ordered


def collate(rows: list[dict[str, list[int]]], pad_id: int) -> dict[str, Any]:
    """Pad rows on the right into LongTensors [rows, longest]: `input_ids`, `attention_mask`, `labels`."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": pad_id, "labels": IGNORED}
    batch = {
        name: torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])
        for name, value in fill.items()
    }
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    batch["attention_mask"] = (torch.arange(longest) < lengths[:, None]).long()
    return batch
