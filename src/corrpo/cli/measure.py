"""`corrpo measure MODEL --samples FILE --output DIR`, and `corrpo measure MODEL --list-projections`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from corrpo.cli.printing import OptionalOutput, Output, Printed, refuse_json
from corrpo.errors import visible
from corrpo.lab import sample_location
from corrpo.measurement.options import MeasureOptions
from corrpo.models.keywords import narrow
from corrpo.models.load_options import LoadOptions, WorkerOptions
from corrpo.samples import SampleOptions, describe_samples, load_samples

if TYPE_CHECKING:
    from corrpo.measurement.fingerprint import Fingerprint


@dataclass(frozen=True, kw_only=True)
class _MeasureModel(MeasureOptions, SampleOptions, LoadOptions, WorkerOptions, Printed):
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A local folder (of a model, or of an adapter), a .gguf file, a name on the hub, or lab:FAMILY/KIND
    (lab:qwen2/reasoning)."""
    processes: int | None = None
    """Processes that share the responses, each with the model on a GPU or on a share of the cores; 1 if not
    given, or as many as the cluster has room for."""
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
    from corrpo.cli.projections import print_projections
    from corrpo.jobs.console import Console
    from corrpo.models.loading import load_skeleton

    skeleton = load_skeleton(options.model, **vars(narrow(options, LoadOptions)))
    print_projections(skeleton, options.model, options, Console())


def _dry_run(options: Measure) -> None:
    from corrpo.cli.dry_run import announce, print_dry_run
    from corrpo.measurement.dry_run import dry_run
    from corrpo.models.loading import load_model

    samples = load_samples(sample_location(options.samples), narrow(options, SampleOptions))
    model, tokenizer = load_model(options.model, **vars(narrow(options, LoadOptions)))
    announce()
    print_dry_run(dry_run(model, tokenizer, samples, narrow(options, MeasureOptions)))


def _measure(options: Measure) -> dict[str, Any]:
    from corrpo.jobs.console import Console
    from corrpo.jobs.files import read_json
    from corrpo.measurement.fingerprint_format import FINGERPRINT
    from corrpo.report import write_measure_report
    from corrpo.report.terminal_tables import fingerprint_lines

    fingerprint = _measured(options)
    write_measure_report(fingerprint, options.output / "report.html")
    console = Console()
    for line in fingerprint_lines(fingerprint):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if skipped := len(fingerprint.samples["skipped"]):
        console.print(f"left out           {skipped} responses", highlight=False)
    console.print(f"report             {options.output / 'report.html'}", highlight=False, soft_wrap=True)
    return {**read_json(options.output / FINGERPRINT), "output": str(options.output)}


def _measured(options: Measure) -> "Fingerprint":
    from corrpo.jobs.process_count import check_processes
    from corrpo.jobs.run_folder import check_output
    from corrpo.jobs.workers import open_workers
    from corrpo.measurement.measure_tasks import NamedModel
    from corrpo.measurement.pipeline import known_before_loading, measure_in_workers
    from corrpo.models.checkpoints import Checkpoint
    from corrpo.models.model_names import model_location

    check_processes(options.processes, options.device_map, options.cluster)
    samples = sample_location(options.samples)
    given = load_samples(samples, narrow(options, SampleOptions))  # refused before a large model is loaded
    settings, loading = narrow(options, MeasureOptions), narrow(options, LoadOptions)
    check_output(options.output, known_before_loading(samples, given, settings))
    print(visible(describe_samples(given)), file=sys.stderr)
    each = [Checkpoint(options.model, None, None, model_location(options.model))] * len(given)
    processes = 1 if options.processes is None and options.cluster is None else options.processes
    with open_workers(each, processes, options.cluster, loading) as workers:
        return measure_in_workers(
            NamedModel(options.model, loading),
            samples,
            workers,
            output=options.output,
            revision=options.revision,
            progress=True,
            **vars(narrow(options, SampleOptions)),
            **vars(settings),
        )
