"""`corrpo measure MODEL --samples FILE --output DIR`, and `corrpo measure MODEL --list-projections`."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from corrpo.cli.printing import OptionalOutput, Output, Printed, refuse_json
from corrpo.errors import BadInputError, visible
from corrpo.jobs.torchrun import check_processes, current_team, device_of_process
from corrpo.lab import sample_location
from corrpo.measurement.options import MeasureOptions
from corrpo.models.keywords import narrow
from corrpo.models.load_options import LoadOptions
from corrpo.samples import SampleOptions, describe_samples, load_samples

if TYPE_CHECKING:
    from corrpo.jobs.process_team import Team
    from corrpo.measurement.fingerprint import Fingerprint


@dataclass(frozen=True, kw_only=True)
class _MeasureModel(MeasureOptions, SampleOptions, LoadOptions, Printed):
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A local folder (of a model, or of an adapter), a .gguf file, a name on the hub, or lab:FAMILY/KIND
    (lab:qwen2/reasoning)."""
    list_projections: bool = False
    """Show what would be measured, and measure nothing: reads the model's config alone, and needs neither
    --samples nor --output."""


@dataclass(frozen=True, kw_only=True)
class Measure(_MeasureModel):
    """Measure the correlation of token entropy and gradient strength over a model's responses.

    Writes OUTPUT/report.html, fingerprint.json, tokens.parquet and responses.jsonl. Ctrl-C keeps what is
    done; the same command goes on from there.
    """

    samples: Path
    """Prompts, with responses where they are given: JSON lines, a JSON array, Parquet, CSV, or the folder of
    a dataset; or lab:reasoning, lab:safety, lab:base. A line of JSON is {"prompt": text or chat messages,
    "response": optional, "answer": optional, "id": optional}; messages, conversations, and other names of
    the columns are read too."""
    output: Output
    """Folder of the results, new or of the same measurement."""
    dry_run: bool = False
    """Tell what would be done, and what time and memory it would take here, from a few tokens; write
    nothing."""


@dataclass(frozen=True, kw_only=True)
class ListProjections(_MeasureModel):
    """Show which projections of a model would be measured. The other options are those of a measurement."""

    samples: Path | None = None
    """Not read."""
    output: OptionalOutput = None
    """Not written."""


def options_class(words: Sequence[str]) -> type[Measure | ListProjections]:
    """The options of a command line: a listing needs fewer than a measurement, and --help shows those of one.

    >>> options_class(["gpt2", "--list-projections"]).__name__, options_class(["gpt2"]).__name__
    ('ListProjections', 'Measure')
    """
    wanted = "--list-projections" in words or "--list_projections" in words
    return ListProjections if wanted and not {"-h", "--help"} & set(words) else Measure


def run(options: Measure | ListProjections) -> dict[str, Any] | None:
    """Load, measure, write the report, and print the headline; or print what would be measured.

    Returns:
        What fingerprint.json holds; None where nothing is measured.

    Raises:
        BadInputError: --json where nothing is measured.
    """
    if isinstance(options, Measure) and not options.dry_run:
        return _measure(options)
    refuse_json(options, "--list-projections and --dry-run do")
    if isinstance(options, ListProjections):
        _list_projections(options)
    else:
        _dry_run(options)
    return None


def _list_projections(options: ListProjections) -> None:
    from rich.console import Console

    from corrpo.cli.projections import print_projections
    from corrpo.models.loading import load_skeleton

    skeleton = load_skeleton(options.model, **vars(narrow(options, LoadOptions)))
    if current_team().first:
        print_projections(skeleton, options.model, options, Console())


def _dry_run(options: Measure) -> None:
    from corrpo.cli.dry_run import print_dry_run
    from corrpo.measurement.dry_run import dry_run
    from corrpo.models.loading import load_model

    if current_team().size > 1:
        raise BadInputError("--dry-run measures a few tokens in one process: start it without torchrun")
    samples = load_samples(sample_location(options.samples), narrow(options, SampleOptions))
    model, tokenizer = load_model(options.model, **vars(narrow(options, LoadOptions)))
    print_dry_run(dry_run(model, tokenizer, samples, narrow(options, MeasureOptions)))


def _measure(options: Measure) -> dict[str, Any] | None:
    from rich.console import Console

    from corrpo.jobs.files import read_json
    from corrpo.measurement.fingerprint_format import FINGERPRINT
    from corrpo.report import write_measure_report
    from corrpo.report.terminal_tables import fingerprint_lines

    team = current_team()
    with team.together() as together:
        fingerprint = _measured(options, together)
    if not team.first:
        return None
    write_measure_report(fingerprint, options.output / "report.html")
    console = Console()
    for line in fingerprint_lines(fingerprint):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if skipped := len(fingerprint.samples["skipped"]):
        console.print(f"left out           {skipped} responses", highlight=False)
    console.print(f"report             {options.output / 'report.html'}", highlight=False, soft_wrap=True)
    return {**read_json(options.output / FINGERPRINT), "output": str(options.output)}


def _measured(options: Measure, team: "Team") -> "Fingerprint":
    from corrpo.jobs.run_folder import check_output
    from corrpo.measurement.pipeline import known_before_loading, measure
    from corrpo.models.loading import load_model, quiet_loading

    check_processes(team, device_map=options.device_map)
    samples = sample_location(options.samples)
    given = load_samples(samples, narrow(options, SampleOptions))  # refused before a large model is loaded
    settings = narrow(options, MeasureOptions)
    check_output(options.output, known_before_loading(samples, given, settings))
    if team.first:
        print(visible(describe_samples(given)), file=sys.stderr)
    with nullcontext() if team.first else quiet_loading():
        loading = replace(narrow(options, LoadOptions), device=device_of_process(options.device))
        model, tokenizer = load_model(options.model, **vars(loading))
    return measure(
        model,
        tokenizer,
        samples,
        output=options.output,
        name=options.model,
        revision=options.revision,
        progress=team.first,
        team=team,
        **vars(narrow(options, SampleOptions)),
        **vars(settings),
    )
