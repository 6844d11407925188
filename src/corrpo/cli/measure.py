"""`corrpo measure MODEL --samples FILE --output DIR`, and `corrpo measure MODEL --list-projections`."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path

import tyro
from rich.console import Console

from corrpo.cli.projections import print_projections
from corrpo.jobs.process_team import Team
from corrpo.jobs.torchrun import check_processes, current_team, device_of_process
from corrpo.lab import model_location, sample_location
from corrpo.measurement import MeasureOptions, measure
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.models.loading import load_model, load_skeleton, quiet_loading
from corrpo.report import write_measure_report
from corrpo.report.explanations import few_samples
from corrpo.samples import load_samples


@dataclass(frozen=True, kw_only=True)
class _MeasureModel(MeasureOptions):
    model: tyro.conf.Positional[str]
    """A local folder (of a model, or of an adapter), a name on the hub, or lab:FAMILY/KIND
    (lab:qwen2/reasoning)."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: str = "auto"
    """Weights as saved (auto), or float32, bfloat16, float16, float64."""
    device: str = "auto"
    """A GPU if there is one (auto), or cpu, cuda:1, ..."""
    device_map: str | None = None
    """auto spreads one model over all GPUs of this machine, for models that do not fit on one."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""
    list_projections: bool = False
    """Show what would be measured, and measure nothing: reads the model's config alone, and needs neither
    --samples nor --output."""
    quantization: str = "none"
    """Weights as saved (none), or quantized by bitsandbytes: 8bit, 4bit."""
    base: str | None = None
    """The base model of an adapter, in place of what its adapter_config.json tells."""


@dataclass(frozen=True, kw_only=True)
class Measure(_MeasureModel):
    """Measure the correlation of token entropy and gradient strength over a model's responses.

    Writes OUTPUT/report.html, fingerprint.json, tokens.parquet and responses.jsonl. Ctrl-C keeps what is
    done; the same command goes on from there.
    """

    samples: Path
    """JSONL, a line each: {"prompt": text or chat messages, "response": optional, "answer": optional,
    "id": optional}; or lab:reasoning, lab:safety, lab:base."""
    output: Path
    """Folder of the results, new or of the same measurement."""


@dataclass(frozen=True, kw_only=True)
class ListProjections(_MeasureModel):
    """Show which projections of a model would be measured. The other options are those of a measurement."""

    samples: Path | None = None
    """Not read."""
    output: Path | None = None
    """Not written."""


def entry_of(words: Sequence[str]) -> type[Measure | ListProjections]:
    """The options of a command line: a listing needs fewer than a measurement, and --help shows those of one.

    >>> entry_of(["gpt2", "--list-projections"]).__name__, entry_of(["gpt2"]).__name__
    ('ListProjections', 'Measure')
    """
    wanted = "--list-projections" in words or "--list_projections" in words
    return ListProjections if wanted and not {"-h", "--help"} & set(words) else Measure


def run(options: Measure | ListProjections) -> None:
    """Load, measure, write the report, and print the headline; or print what would be measured."""
    if isinstance(options, ListProjections):
        skeleton = load_skeleton(
            model_location(options.model),
            revision=options.revision,
            trust_remote_code=options.trust_remote_code,
        )
        if current_team().first:
            print_projections(skeleton, options.model, options, Console())
        return
    _measure(options)


def _measure(options: Measure) -> None:
    team = current_team()
    with team.together() as together:
        fingerprint = _measured(options, together)
    if not team.first:
        return
    write_measure_report(fingerprint, options.output / "report.html")
    console = Console()
    console.print(f"Spearman           {fingerprint.spearman}", highlight=False)
    console.print(f"position held      {fingerprint.position_partial}", highlight=False)
    console.print(f"by unique token    {fingerprint.spearman_by_token}", highlight=False)
    console.print(f"Pearson            {fingerprint.pearson}", highlight=False)
    if warning := few_samples(fingerprint.spearman):
        console.print(warning, highlight=False)
    console.print(f"report             {options.output / 'report.html'}", highlight=False, soft_wrap=True)


def _measured(options: Measure, team: Team) -> Fingerprint:
    check_processes(team, device_map=options.device_map)
    samples = sample_location(options.samples)
    load_samples(samples)  # a bad line is told before a large model is loaded
    with nullcontext() if team.first else quiet_loading():
        model, tokenizer = load_model(
            model_location(options.model),
            revision=options.revision,
            dtype=options.dtype,
            device=device_of_process(options.device),
            device_map=options.device_map,
            trust_remote_code=options.trust_remote_code,
            quantization=options.quantization,
            base=None if options.base is None else model_location(options.base),
        )
    return measure(
        model,
        tokenizer,
        samples,
        output=options.output,
        name=options.model,
        revision=options.revision,
        progress=team.first,
        team=team,
        **{field.name: getattr(options, field.name) for field in fields(MeasureOptions)},
    )
