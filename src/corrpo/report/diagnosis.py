"""The diagnosis of models by their fingerprints: a table over families and training regimes, with intervals.

A row is a model: rho over its own responses, the same with position held constant, the same responses under
random weights, what changed from the models it is set against (paired over the samples both answered), and
its accuracy, found by the digest of its weights. Families may have other projections, as those without
attention have; everything else of the measurement is the same for all.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError
from corrpo.evaluation.results import Evaluation
from corrpo.jobs.files import write_json, write_parquet, write_text
from corrpo.measurement.comparison import Comparison, Row, compare_fingerprints
from corrpo.measurement.labelled_fingerprints import Labelled
from corrpo.report.explanations import estimator_label
from corrpo.report.figures import Drawing, TypeValue, types_figure
from corrpo.report.formatting import DASH, count, decimal, percent, visible
from corrpo.statistics import Correlation, Difference
from corrpo.statistics.accuracy_estimate import Estimate

NAME = "diagnosis"
"""Of the files: diagnosis.parquet, .csv, .md, .json and .svg."""
BEGIN, END = "<!-- diagnosis -->", "<!-- end of diagnosis -->"
"""Lines of a page between which the table stands."""
SCHEMA_VERSION = 1
_SAME = ("estimator", "norm", "target")
_OF_A_CORRELATION = {
    "rho": "spearman",
    "rho_position_held": "position_partial",
    "rho_by_token": "spearman_by_token",
}


@dataclass(frozen=True)
class Diagnosed:
    """One model of a diagnosis.

    Attributes:
        row: its fingerprint in the comparison of its family.
        projections: what was measured.
        changes: by the type it is set against, the difference of correlations; that type itself has none.
        accuracy: pass@1 on `suite`; None if the model was not evaluated.
        suite: name of the suite.
    """

    row: Row
    projections: tuple[str, ...]
    changes: dict[str, Difference]
    accuracy: Estimate | None = None
    suite: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """Models of some families side by side.

    Attributes:
        models: in the order of families, sample sets and types.
        against: the types that changes are taken from.
        comparisons: one of each family, with all differences and notes.
    """

    models: tuple[Diagnosed, ...]
    against: tuple[str, ...]
    comparisons: tuple[Comparison, ...]

    def table(self) -> pl.DataFrame:
        """Every number: a row for a model; a number that does not exist is null.

        Columns: family, regime, sample_set, model, model_digest, projections; of rho (over positions),
        rho_position_held, rho_by_token and untrained: the value, _low, _high and _p; n_tokens, n_samples,
        response_tokens, entropy_bits, strength (means); of change_from_TYPE: the value, _low, _high, _p;
        accuracy, _low, _high, accuracy_problems, accuracy_generations, suite; source, the fingerprint's
        folder.
        """
        return pl.DataFrame([_record(each, self.against) for each in self.models], infer_schema_length=None)

    def as_dict(self) -> dict[str, Any]:
        """The settings, the versions, all differences and the notes, JSON-safe."""
        return {
            "schema_version": SCHEMA_VERSION,
            "against": list(self.against),
            "comparisons": [each.as_dict() for each in self.comparisons],
        }


def diagnose(
    labelled: Sequence[Labelled],
    evaluations: Sequence[Evaluation] = (),
    *,
    against: Sequence[str] = ("base",),
    method: str = "spearman",
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Diagnosis:
    """Set models of some families side by side.

    Args:
        labelled: fingerprints under FAMILY/TYPE, in order.
        evaluations: of any models; those of other weights, or with no digest of theirs, are passed over.
        against: types that changes are taken from, within each family and sample set that has them.
        method: of the changes, as in `corrpo.measurement.comparison.compare_fingerprints`.
        resamples: for the interval of a change.
        seed: of the resampling.
        progress: wraps the pairs of a family.

    Raises:
        BadInputError: as `compare_fingerprints`; families measured with another estimator, norm or target;
            a type in `against` that there is not; a model with two evaluations.
    """
    families = list(dict.fromkeys(each.family for each in labelled))
    comparisons = tuple(
        compare_fingerprints(
            [each for each in labelled if each.family == family],
            method=method,
            resamples=resamples,
            seed=seed,
            progress=progress,
        )
        for family in families
    )
    _check_families(families, comparisons)
    types = dict.fromkeys(each.type for each in labelled)
    for name in against:
        if name not in types:
            raise BadInputError(f"against {name!r}: there is no such type; there are {', '.join(types)}")
    scored = _by_digest(evaluations)
    models = tuple(
        _diagnosed(row, comparison, against, scored) for comparison in comparisons for row in comparison.rows
    )
    return Diagnosis(models, tuple(against), comparisons)


def _check_families(families: Sequence[str], comparisons: Sequence[Comparison]) -> None:
    first = comparisons[0].measurement
    for family, comparison in zip(families, comparisons, strict=True):
        for name in _SAME:
            if comparison.measurement[name] != first[name]:
                raise BadInputError(
                    f"{name} is {first[name]} in {families[0]} and {comparison.measurement[name]} in "
                    f"{family}: other quantities were measured; measure all families alike"
                )


def _by_digest(evaluations: Sequence[Evaluation]) -> dict[str, Evaluation]:
    found: dict[str, Evaluation] = {}
    for each in evaluations:
        if each.model["digest"] is None:  # vLLM holds the weights
            continue
        first = found.setdefault(each.model["digest"], each)
        if first is not each:
            raise BadInputError(
                f"the weights of {each.model['name']} were evaluated twice, on {first.suite['name']} and on "
                f"{each.suite['name']}: give the folder of one evaluation of each model"
            )
    return found


def _diagnosed(
    row: Row, comparison: Comparison, against: Sequence[str], scored: dict[str, Evaluation]
) -> Diagnosed:
    changes = {}
    for name in against:
        if (found := _change(row, comparison, name)) is not None:
            changes[name] = found
    evaluation = scored.get(row.model_digest)
    return Diagnosed(
        row,
        tuple(comparison.measurement["projections"]),
        changes,
        evaluation and evaluation.estimates["pass@1"],
        evaluation and evaluation.suite["name"],
    )


def _change(row: Row, comparison: Comparison, start: str) -> Difference | None:
    """The correlation of a row less that of the type `start`, whichever of the two comes first."""
    for each in comparison.differences:
        if each.sample_set != row.sample_set:
            continue
        if (each.a, each.b) == (start, row.type):
            return each.difference
        if (each.a, each.b) == (row.type, start):
            return _turned(each.difference)
    return None


def _turned(difference: Difference) -> Difference:
    value, low, high = (
        None if end is None else -end for end in (difference.value, difference.high, difference.low)
    )
    return replace(difference, value=value, low=low, high=high)


def _record(each: Diagnosed, against: Sequence[str]) -> dict[str, Any]:
    row = each.row
    record: dict[str, Any] = {
        "family": row.family,
        "regime": row.type,
        "sample_set": row.sample_set,
        "model": row.model,
        "model_digest": row.model_digest,
        "projections": " ".join(each.projections),
    }
    for name, statistic in _OF_A_CORRELATION.items():
        record |= _parts(name, getattr(row, statistic))
    record |= _parts("untrained", (row.untrained or {}).get("spearman"))
    record |= {
        "n_tokens": row.n_tokens,
        "n_samples": row.n_samples,
        "response_tokens": row.mean_response_tokens,
        "entropy_bits": row.mean_entropy_bits,
        "strength": row.mean_strength,
    }
    for name in against:
        record |= _parts(f"change_from_{name}", each.changes.get(name))
    accuracy = each.accuracy
    return record | {
        "accuracy": accuracy and accuracy.value,
        "accuracy_low": accuracy and accuracy.low,
        "accuracy_high": accuracy and accuracy.high,
        "accuracy_problems": accuracy and accuracy.n_problems,
        "accuracy_generations": accuracy and accuracy.n_samples,
        "suite": each.suite,
        "source": row.folder,
    }


def _parts(name: str, result: Correlation | Difference | None) -> dict[str, float | None]:
    ends = ("value", "low", "high", "p")
    names = (name, f"{name}_low", f"{name}_high", f"{name}_p")
    return {key: result and getattr(result, end) for key, end in zip(names, ends, strict=True)}


def markdown(table: pl.DataFrame) -> str:
    """The table of a diagnosis for a page: what `Diagnosis.table` holds, rounded.

    Args:
        table: as `Diagnosis.table` or a diagnosis.parquet has it.
    """
    against = [name.removeprefix("change_from_") for name in table.columns if _is_change(name)]
    sets = table["sample_set"].n_unique() > 1
    head = ["family", "model", *(["samples"] if sets else []), "rho", "position held", "untrained"]
    head += [f"change from {name}" for name in against]
    head += ["pass@1, %", "tokens a response", "tokens", "samples answered"]
    lines = [head, ["---"] * (3 if sets else 2) + ["--:"] * (len(head) - (3 if sets else 2))]
    for row in table.iter_rows(named=True):
        names = [row["family"], row["regime"], *([row["sample_set"]] if sets else [])]
        numbers = [_shown(row, name) for name in ("rho", "rho_position_held", "untrained")]
        numbers += [_shown(row, f"change_from_{name}") for name in against]
        numbers += [_shown(row, "accuracy", percent), decimal(row["response_tokens"], 0)]
        numbers += [count(row["n_tokens"]), count(row["n_samples"])]
        lines.append([*(visible(name).replace("|", "\\|") for name in names), *numbers])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def renew_page(page: Path | str, table: pl.DataFrame) -> None:
    """Put the table into a Markdown page, between the lines `BEGIN` and `END`, in place of what is there.

    Raises:
        BadInputError: the page cannot be read, or has not each of the two lines once, in this order.
        OutputFolderError: the page cannot be written.
    """
    page = Path(page)
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"cannot read the page {page}: {error}") from error
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not (begin and end) or any(mark in before + after for mark in (BEGIN, END)):
        raise BadInputError(f"{page}: expected a line {BEGIN} and below it a line {END}, each once")
    write_text(page, f"{before}{BEGIN}\n\n{markdown(table)}\n{END}\n{after}")


def _is_change(name: str) -> bool:
    return name.startswith("change_from_") and not name.endswith(("_low", "_high", "_p"))


def _shown(row: dict[str, Any], name: str, form: Callable[[float | None], str] = decimal) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return DASH
    return form(value) if low is None else f"{form(value)} [{form(low)}, {form(high)}]"


def figure(diagnosis: Diagnosis) -> Drawing:
    """rho of each model with its interval and its untrained control, a panel for each family."""
    rows = [each.row for each in diagnosis.models]
    label = estimator_label(diagnosis.comparisons[0].measurement)
    values = [
        TypeValue(r.family, r.type, r.sample_set, r.spearman, (r.untrained or {}).get("spearman"), r.folder)
        for r in rows
    ]
    return types_figure(
        NAME, values, value_label=f"Spearman ρ of token entropy and\ngradient strength ({label})"
    )


def write_diagnosis(diagnosis: Diagnosis, folder: Path | str) -> list[Path]:
    """Write diagnosis.parquet, .csv, .md, .json and .svg into a folder; returns their paths.

    Raises:
        OutputFolderError: the folder cannot be written to.
    """
    table = diagnosis.table()
    paths = [Path(folder) / f"{NAME}.{end}" for end in ("parquet", "csv", "md", "json", "svg")]
    write_parquet(paths[0], table)
    write_text(paths[1], table.write_csv())
    write_text(paths[2], markdown(table))
    write_json(paths[3], diagnosis.as_dict())
    figure(diagnosis).write(paths[4])
    return paths
