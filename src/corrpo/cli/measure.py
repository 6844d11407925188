"""`corrpo measure MODEL --samples FILE --output DIR`."""

from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path

import tyro
from rich.console import Console

from corrpo.distributed import Team, check_processes, current_team, device_of_process
from corrpo.dynamics.jobs import quiet_loading
from corrpo.fingerprint import Fingerprint
from corrpo.lab import model_location, sample_location
from corrpo.measurement import MeasureOptions, measure
from corrpo.models import load_model
from corrpo.report import write_measure_report
from corrpo.report.notes import few_samples
from corrpo.samples import load_samples


@dataclass(frozen=True, kw_only=True)
class Measure(MeasureOptions):
    """Measure the correlation of token entropy and gradient strength over a model's responses.

    Writes OUTPUT/report.html, fingerprint.json, tokens.parquet and responses.jsonl. Ctrl-C keeps what is
    done; the same command goes on from there.
    """

    model: tyro.conf.Positional[str]
    """A local folder, a name on the hub, or lab:FAMILY/KIND (lab:qwen2/reasoning)."""
    samples: Path
    """JSONL, a line each: {"prompt": text or chat messages, "response": optional, "answer": optional,
    "id": optional}; or lab:reasoning, lab:safety, lab:base."""
    output: Path
    """Folder of the results, new or of the same measurement."""
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


def run(options: Measure) -> None:
    """Load, measure, write the report, and print the headline."""
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
