"""A fingerprint as the page shows it: an index, the tokens of a sample, and the norms of a token.

Quantiles are those among all measured tokens of the fingerprint: mid-rank over their number, in (0, 1).

The disagreement of a token is the quantile of its entropy less that of its strength, between -1 and 1:
positive where the model was undecided and its gradient weak, negative where it was sure and its gradient
strong. Like a quantile it has no value for a token that was not measured.

Every text that leaves here is ready to be shown: what does not show, or would reorder its neighbours, is
written as its escape, so that UTF-8 can hold it.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from corrpo.errors import visible
from corrpo.report.explanations import estimator_label, estimator_note, few_samples, interval_name
from corrpo.report.formatting import plain, shortened, token_text, with_interval
from corrpo.report.layer_correlations import layer_numbers
from corrpo.statistics import Correlation, UndefinedCorrelationError, spearman
from corrpo.statistics.coefficients import midranks
from corrpo.viewer.fingerprint_files import (
    fingerprint_folders,
    read_responses,
    read_summary,
    sample_norms,
    token_table,
)
from corrpo.viewer.response_verdicts import CHUNK, Check, Verdict, response_verdicts

LONGEST_TOKEN = 200
"""Characters of a token that are shown."""
LONGEST_LISTED = 2000
"""Characters of a prompt that are listed, and searched."""
HIGH, LOW = 0.9, 0.5
"""Quantile of entropy from which, and of strength up to which, a token is one to jump to."""
JUMPS = 2000
"""Tokens to jump to in one result: those of the greatest disagreement."""
GRID = np.linspace(0.0, 1.0, 101)


class ViewedFingerprint:
    """One fingerprint, read as far as the page needs it.

    Args:
        folder: of the fingerprint.
        label: what the menu calls it.
        check: how answers are compared with the right ones: as text or number, by math-verify, or not.

    Raises:
        BadInputError: from whatever reads a file first: the file cannot be read; names it.
    """

    def __init__(self, folder: Path, label: str, check: Check = "exact"):
        self.folder = folder
        self.label = visible(label)
        self.check: Check = check
        self._verdicts: list[Verdict] | None = None

    def prepare(self) -> Iterator[float]:
        """Read, check every answer and make the index; yields the share that is done, up to 1."""
        responses, verdicts = self.responses, []
        samples = [sample for sample, _, _ in self.bounds]
        for start in range(0, len(samples), CHUNK):
            rows = [responses.get(sample) for sample in samples[start : start + CHUNK]]
            verdicts += response_verdicts(rows, self.check)
            yield 0.9 * len(verdicts) / len(samples)
        self._verdicts = verdicts
        _ = self.index
        yield 1.0

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each of `bounds`."""
        if self._verdicts is None:
            for _ in self.prepare():
                pass
        return self._verdicts or []

    @cached_property
    def summary(self) -> dict[str, Any]:
        """fingerprint.json."""
        return read_summary(self.folder)

    @cached_property
    def responses(self) -> dict[str, dict[str, Any]]:
        """The rows of responses.jsonl by sample."""
        return read_responses(self.folder)

    @property
    def tokens(self) -> pl.DataFrame:
        """The token columns, see `token_table`."""
        return token_table(self.folder)

    @cached_property
    def bounds(self) -> list[tuple[str, int, int]]:
        """(sample, first row, row after the last) of `tokens`, in order."""
        groups = self.tokens.group_by("sample", maintain_order=True).len()
        ends = np.cumsum(groups["len"].to_numpy().astype(np.int64))
        starts = np.concatenate(([0], ends[:-1]))
        return list(zip(groups["sample"].to_list(), starts.tolist(), ends.tolist(), strict=True))

    @cached_property
    def quantiles(self) -> dict[str, NDArray[np.float32]]:
        """Of entropy and of strength, float32 [tokens]; NaN where the token was not measured."""
        columns = self.tokens.select("entropy_bits", "strength")
        measured = columns.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
        quantiles = {}
        for name in columns.columns:
            values = np.full(len(measured), np.nan, dtype=np.float32)
            if measured.any():
                values[measured] = midranks(columns[name].to_numpy()[measured]) / measured.sum()
            quantiles[name] = values
        return quantiles

    @cached_property
    def index(self) -> dict[str, Any]:
        """Everything about the fingerprint but its tokens; JSON-safe.

        Keys: label, model, samples_name, rho (text with its interval), interval (its name), warning (or
        None), tokens, estimator, estimator_note, norm, settings (name to text), samples (each: id, prompt,
        correct, reason, tokens, entropy, strength, rho), unknown (reason to number of samples), edges (of
        entropy and of strength: the value at each of 101 quantiles from 0 to 1), jumps (for each sample its
        tokens of high entropy and low gradient, in order).
        """
        summary = self.summary
        rho = Correlation.from_dict(summary["statistics"]["spearman"])
        settings = summary["settings"]
        reasons = Counter(verdict.reason for verdict in self.verdicts if verdict.reason)
        return {
            "label": self.label,
            "model": visible(str(summary["model"]["name"])),
            "samples_name": visible(str(summary["samples"]["name"])),
            "rho": with_interval(rho),
            "interval": interval_name(settings),
            "warning": few_samples(rho),
            "tokens": rho.n_tokens,
            "estimator": visible(estimator_label(settings)),
            "estimator_note": visible(estimator_note(settings)),
            "norm": visible(f"{settings.get('norm')} norm of d {settings.get('target')}"),
            "settings": {visible(str(name)): visible(plain(value)) for name, value in settings.items()},
            "samples": self._samples(),
            "unknown": dict(reasons),
            "edges": self._edges(),
            "jumps": self._jumps(),
        }

    def _samples(self) -> list[dict[str, Any]]:
        entropy, strength = (self.tokens[name].to_numpy() for name in ("entropy_bits", "strength"))
        measured = ~np.isnan(self.quantiles["strength"])
        listed = []
        for (sample, start, end), verdict in zip(self.bounds, self.verdicts, strict=True):
            rows = slice(start, end)
            pair = entropy[rows][measured[rows]], strength[rows][measured[rows]]
            prompt = " ".join(_prompt_text(self.responses.get(sample)).split())
            listed.append(
                {
                    "id": visible(shortened(sample, 80)),
                    "prompt": visible(shortened(prompt, LONGEST_LISTED)),
                    "correct": verdict.correct,
                    "reason": verdict.reason,
                    "tokens": end - start,
                    "entropy": _mean(entropy[rows]),
                    "strength": _mean(pair[1]),
                    "rho": _rho(*pair),
                }
            )
        return listed

    def _edges(self) -> dict[str, list[float] | None]:
        measured = ~np.isnan(self.quantiles["strength"])
        columns = {"entropy": "entropy_bits", "strength": "strength"}
        if not measured.any():
            return dict.fromkeys(columns)
        return {
            name: np.quantile(self.tokens[column].to_numpy()[measured], GRID).tolist()
            for name, column in columns.items()
        }

    def _jumps(self) -> list[list[int]]:
        high, low = self.quantiles["entropy_bits"], self.quantiles["strength"]
        rows = np.flatnonzero((high >= HIGH) & (low <= LOW))
        rows = np.sort(rows[np.argsort((low - high)[rows], kind="stable")][:JUMPS])
        jumps: list[list[int]] = []
        for _, start, end in self.bounds:
            first, last = np.searchsorted(rows, (start, end))
            jumps.append((rows[first:last] - start).tolist())
        return jumps

    def sample(self, number: int) -> dict[str, Any]:
        """One sample; JSON-safe: id, prompt, answer, correct, reason, and a list per column of its tokens.

        The columns: token (text), token_id, entropy (bits), strength, probability, logit, rank,
        entropy_quantile, strength_quantile, disagreement. None stands for what was not measured.
        """
        sample, start, end = self.bounds[_checked(number, len(self.bounds))]
        row = self.responses.get(sample) or {}
        rows = self.tokens[start:end]
        high, low = (self.quantiles[name][start:end] for name in ("entropy_bits", "strength"))
        answer, verdict = row.get("answer"), self.verdicts[number]
        return {
            "id": visible(sample),
            "prompt": _visible_lines(_prompt_text(row)),
            "answer": None if answer is None else visible(str(answer)),
            "correct": verdict.correct,
            "reason": verdict.reason,
            "token": [_visible_lines(shortened(text, LONGEST_TOKEN), "⏎") for text in rows["token"]],
            "token_id": rows["token_id"].to_list(),
            "entropy": rows["entropy_bits"].to_list(),
            "strength": rows["strength"].to_list(),
            "probability": rows["logprob"].exp().fill_nan(None).to_list(),
            "logit": rows["target_logit"].to_list(),
            "rank": rows["rank"].to_list(),
            "entropy_quantile": _numbers(high),
            "strength_quantile": _numbers(low),
            "disagreement": _numbers(high - low),
        }

    def token(self, number: int, place: int) -> dict[str, Any]:
        """One token; JSON-safe: text (spaces and line breaks marked), characters, and its norms.

        projections are the names of the columns of norms, layers the numbers of its rows; both norms and
        layers are None where the token was not measured.
        """
        _, start, end = self.bounds[_checked(number, len(self.bounds))]
        text = self.tokens["token"][start + _checked(place, end - start)]
        norms = sample_norms(self.folder, start, end)[place]
        settings = self.summary["settings"]
        width = len(norms[0]) if norms else 0
        names = [visible(str(name)) for name in settings.get("projections") or []]
        return {
            "text": token_text(text, LONGEST_TOKEN),
            "characters": len(text),
            "projections": names if len(names) == width else [str(i) for i in range(width)],
            "layers": None if norms is None else layer_numbers(settings, self.summary["model"], len(norms)),
            "norms": norms,
        }


def viewed_fingerprints(folder: Path, check: Check) -> list[ViewedFingerprint]:
    """The fingerprints of a folder, each under its path below it.

    Raises:
        BadInputError: there are none, or a file of one is a link that leads out of the folder.
    """
    return [
        ViewedFingerprint(
            path, path.relative_to(folder).as_posix() if path != folder else path.resolve().name, check
        )
        for path in fingerprint_folders(folder)
    ]


def _checked(number: int, count: int) -> int:
    if not 0 <= number < count:
        raise IndexError(number)
    return number


def _mean(values: NDArray[np.float64]) -> float | None:
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if len(finite) else None


def _rho(entropy: NDArray[np.float64], strength: NDArray[np.float64]) -> float | None:
    try:
        return spearman(entropy, strength)
    except UndefinedCorrelationError:
        return None


def _prompt_text(row: dict[str, Any] | None) -> str:
    """A prompt as one reads it: of chat messages each with its role."""
    prompt = (row or {}).get("prompt", "")
    if isinstance(prompt, list) and all(isinstance(message, dict) for message in prompt):
        return "\n\n".join(f"{message.get('role')}: {plain(message.get('content'))}" for message in prompt)
    return plain(prompt)


def _visible_lines(text: str, mark: str = "") -> str:
    """`text` made visible, its line breaks kept, with a mark before each."""
    return f"{mark}\n".join(visible(line) for line in text.split("\n"))


def _numbers(values: NDArray[np.float32]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in values]
