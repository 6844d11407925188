"""One checkpoint of a trajectory: loaded, measured, and stamped with what it was read from."""

from dataclasses import asdict, dataclass
from pathlib import Path

from corrpo.errors import OutputFolderError
from corrpo.jobs.files import read_json, write_json
from corrpo.jobs.outcome import Outcome, outcome_of
from corrpo.jobs.run_folder import SETTINGS
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.pipeline import measure
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.description import model_digest
from corrpo.models.load_options import CheckpointOptions, LoadOptions
from corrpo.models.loading import load_checkpoint, quiet_loading
from corrpo.models.source_stamp import SOURCE, source_stamp
from corrpo.samples import SampleOptions


@dataclass(frozen=True, kw_only=True)
class CheckpointKeywords(CheckpointOptions):
    """The keywords of a function that works on many checkpoints, in parallel."""

    output: Path | str
    """A folder; the same call goes on where it stopped."""
    progress: bool = False
    """Show what is being done, on standard error."""


@dataclass(frozen=True)
class Job:
    """A checkpoint to measure, with all that a process needs for it; `folder` is that of its fingerprint."""

    checkpoint: Checkpoint
    folder: Path
    samples: Path
    reading: SampleOptions
    loading: LoadOptions
    settings: MeasureOptions

    def __str__(self) -> str:
        return str(self.checkpoint)


def measure_checkpoint(job: Job) -> Outcome[Checkpoint]:
    """Measure one checkpoint into `job.folder`.

    The outcome says why it failed if it did: weights that cannot be loaded, are others than those that its
    folder was measured on, or give NaN; no memory.
    """
    stamp = None
    out_of_memory = "try fewer --processes, or a smaller --batch-size"
    with outcome_of(job.checkpoint, out_of_memory=out_of_memory) as outcome, quiet_loading():
        stamp = source_stamp(job.checkpoint, job.loading)
        _load_and_measure(job)
    if outcome.reason is None and stamp is not None:
        write_json(job.folder / SOURCE, stamp)
    return outcome


def _load_and_measure(job: Job) -> None:
    checkpoint = job.checkpoint
    model, tokenizer = load_checkpoint(checkpoint, job.loading, job.loading.device)
    begun = job.folder / SETTINGS
    known = read_json(begun)["model"] if begun.exists() else None
    if known is not None and known["digest"] != model_digest(model):
        raise OutputFolderError(
            f"its weights are not those that {job.folder} was measured on; give another --output, or remove "
            "that folder to measure it again"
        )
    measure(
        model,
        tokenizer,
        job.samples,
        output=job.folder,
        name=checkpoint.name if known is None else known["name"],
        revision=checkpoint.revision,
        **asdict(job.reading),
        **asdict(job.settings),
    )
