"""The checkpoints of one or more stages of training, found in folders or named on the hub, in order.

A stage is a run of one trainer, such as SFT or GRPO. Stages follow one another in the order they are given;
`Checkpoint.global_step` counts optimizer steps over all of them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from corrpo.errors import BadInputError
from corrpo.models.gguf import is_gguf
from corrpo.models.model_names import lab_name, model_location, parse_hub_name
from corrpo.models.saved_model import looks_like_model, why_incomplete
from corrpo.models.training_run import (
    FINAL,
    RECIPE,
    TRAINER_STATE,
    final_step,
    is_in_run,
    is_run,
    is_under_way,
    recorded_stage,
    step_of,
)

FORM = (
    "give SOURCE, STAGE=SOURCE or STAGE:STEP=SOURCE, where SOURCE is the folder of a run, the folder of a "
    "model, a .gguf file, lab:FAMILY/KIND, or a name on the hub, with @REVISION if need be"
)
_REVISION_STEP = re.compile(r"(?:^|[^A-Za-z])(?:global_?step|step|checkpoint)[-_]?(\d+)(?!\d)", re.IGNORECASE)
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Checkpoint:
    """A model at some point of training.

    Attributes:
        stage: of training; never empty.
        step: optimizer steps since its stage began; None for a model that is no step of a run.
        global_step: optimizer steps since the first stage began: `step` and the last steps of the stages
            before; "at" in files. A stage that is a model without a step adds none.
        source: a local folder or GGUF file, or a name on the hub.
        revision: branch, tag or commit on the hub.

    >>> Checkpoint("sft", 200, 200, "out/sft/checkpoint-200").key
    'sft/step-000200'
    >>> Checkpoint("pythia", 1000, 1000, "EleutherAI/pythia-70m", "step1000").name
    'EleutherAI/pythia-70m@step1000'
    """

    stage: str
    step: int | None
    global_step: int | None
    source: str
    revision: str | None = None

    @property
    def at(self) -> NoReturn:
        """What `global_step` was called before 0.3."""
        raise AttributeError("Checkpoint.at is called global_step since corrpo 0.3")

    @property
    def name(self) -> str:
        """What a person would call it: the source with its revision, or the name of a model of the lab."""
        plain = self.source if self.revision is None else f"{self.source}@{self.revision}"
        return lab_name(self.source) or plain

    @property
    def key(self) -> str:
        """The folder of its results below an output folder: STAGE/step-000200, or STAGE without a step."""
        stage = _file_name(self.stage)
        return stage if self.step is None else f"{stage}/step-{self.step:06d}"

    def as_dict(self) -> dict[str, Any]:
        """The fields and `key`, JSON-safe; a model of the lab goes by its name, as its folder moves."""
        source = lab_name(self.source) or self.source
        return {
            "key": self.key,
            "stage": self.stage,
            "step": self.step,
            "at": self.global_step,
            "source": source,
            "revision": self.revision,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Checkpoint":
        """The inverse of `as_dict`; other keys are passed over."""
        return cls(
            stage=record["stage"],
            step=record["step"],
            global_step=record["at"],
            source=model_location(record["source"]),
            revision=record["revision"],
        )

    def __str__(self) -> str:
        return self.stage if self.step is None else f"{self.stage} step {self.step:,}"


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that is left out.

    Attributes:
        source: its folder.
        reason: why it is left out.
    """

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


CheckpointsAndSkipped = tuple[list[Checkpoint], list[Skipped]]


def find_checkpoints(
    words: Sequence[str], *, start: str | None = None, revision: str | None = None
) -> CheckpointsAndSkipped:
    """The checkpoints that some words name, in the order of training.

    A word is [STAGE[:STEP]=]SOURCE. SOURCE is one of

    - the folder of a run: its folders checkpoint-N (or step-N, global_step_N), and the model in final, or in
      the folder itself, at the step in trainer_state.json or recipe.json. Where a complete checkpoint of the
      same step is there, final is left out;
    - the folder of a model, or a GGUF file; the step is read off a name like checkpoint-200(.gguf);
    - lab:FAMILY/KIND;
    - NAME or NAME@REVISION on the hub; the step is read off a revision like step1000 or global_step_500.
      Nothing is downloaded here.

    STAGE is, if not given, the one in the run's recipe.json, or the short name of the folder or model.

    Args:
        words: one or more; the stages follow one another in this order.
        start: SOURCE of the model that training began from: step 0 of the first stage.
        revision: branch, tag or commit of names on the hub without one; no step is read off it.

    Returns:
        The checkpoints, stage after stage and by step, and the folders that are left out, with reasons:
        half-written ones, which a later call may find complete, and adapters whose base model has gone.

    Raises:
        BadInputError: a word or a folder that cannot be read as any of these; no checkpoint at all; two of
            the same stage and step, or several of one stage without steps.
    """
    if not words:
        raise BadInputError(f"no checkpoints were named: {FORM}")
    checkpoints: list[Checkpoint] = []
    skipped: list[Skipped] = []
    for word in words:
        named, left_out = _read_word(word, {checkpoint.stage for checkpoint in checkpoints})
        checkpoints += named
        skipped += left_out
    if start is not None:
        given, _, source = _parse(words[0])
        named, left_out = _at_start(start, _stage_of(given, source))
        checkpoints = [*named, *checkpoints]
        skipped = [*left_out, *skipped]
    if not checkpoints:
        more = f"; and {len(skipped) - 3} more" if skipped[3:] else ""
        raise BadInputError(
            f"there is no checkpoint to measure yet: {'; '.join(map(str, skipped[:3]))}{more}. Those that "
            "are still being written are found when they are whole"
        )
    _check_steps(checkpoints)
    return [_with_revision(checkpoint, revision) for checkpoint in in_order(checkpoints)], skipped


def _with_revision(checkpoint: Checkpoint, revision: str | None) -> Checkpoint:
    has_none = checkpoint.revision is None and not Path(checkpoint.source).exists()
    return replace(checkpoint, revision=revision) if has_none else checkpoint


def _read_word(word: str, stages: set[str]) -> CheckpointsAndSkipped:
    given, step, source = _parse(word)
    stage, folder = _stage_of(given, source), Path(source)
    if is_gguf(source):
        return [_gguf_checkpoint(stage, step, folder)], []
    if not folder.is_dir():
        return [_hub_checkpoint(stage, step, source)], []
    if not is_run(folder):
        return _model_folder(stage, step, folder)
    if step is not None:
        raise BadInputError(
            f"{word!r}: {source} is the folder of a run, which knows its steps; leave :{step} out"
        )
    if given is None and stage in stages:
        raise BadInputError(f"{source} is of the stage {stage!r}, as is one before it: write STAGE={source}")
    return _run_folder(stage, folder)


def _parse(word: str) -> tuple[str | None, int | None, str]:
    """Stage, step and source; a word that is the path of a folder has only that."""
    label, equals, source = word.partition("=")
    if not equals or Path(word).is_dir():
        return None, None, model_location(_not_empty(word, word))
    stage, colon, number = label.partition(":")
    if colon and not (number.isascii() and number.isdigit()):
        raise BadInputError(f"{word!r}: the step {number!r} is not a whole number; {FORM}")
    _not_empty(word, stage)
    return stage.strip(), int(number) if colon else None, model_location(_not_empty(word, source))


def _not_empty(word: str, part: str) -> str:
    if not part.strip():
        raise BadInputError(f"{word!r} is not [STAGE[:STEP]=]SOURCE: {FORM}")
    return part


def _stage_of(given: str | None, source: str) -> str:
    """The stage as given, or the one in the recipe of its run, or the short name of the source."""
    folder = Path(source)
    if given is not None:
        return given
    if not folder.is_dir() and not is_gguf(source):
        return source.partition("@")[0].rpartition("/")[2]
    if folder.is_dir() and is_run(folder):
        return recorded_stage(folder)
    name = folder.resolve().stem if is_gguf(source) else folder.resolve().name
    return recorded_stage(folder.resolve().parent) if is_in_run(name) else name or "model"


def _gguf_checkpoint(stage: str, step: int | None, file: Path) -> Checkpoint:
    if not file.is_file():
        raise BadInputError(f"the file {file} does not exist; {FORM}")
    return Checkpoint(stage, step_of(file.stem) if step is None else step, None, str(file))


def _hub_checkpoint(stage: str, step: int | None, source: str) -> Checkpoint:
    if Path(source).exists():
        raise BadInputError(f"{source} is a file; {FORM}")
    parsed = parse_hub_name(source)
    if parsed is None:
        raise BadInputError(f"the folder {source} does not exist, and it is no name on the hub; {FORM}")
    name, revision = parsed
    if step_of(Path(name).name) is not None:
        raise BadInputError(f"the folder {source} does not exist; {FORM}")
    numbered = _REVISION_STEP.search(revision or "")
    if step is None and numbered:
        step = int(numbered[1])
    return Checkpoint(stage, step, None, name, revision)


def _model_folder(stage: str, step: int | None, folder: Path) -> CheckpointsAndSkipped:
    name = folder.resolve().name
    if not looks_like_model(folder) and not is_in_run(name):
        if (folder / RECIPE).exists() or (folder / TRAINER_STATE).exists():
            return [], [Skipped(str(folder), "the run has saved no checkpoint yet")]
        holds = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise BadInputError(f"{folder} holds neither a model nor checkpoints (it holds {holds}); {FORM}")
    if reason := why_incomplete(folder):
        return [], [Skipped(str(folder), reason)]
    if step is None:
        step = final_step(folder.resolve().parent, folder) if name == FINAL else step_of(name)
    return [Checkpoint(stage, step, None, str(folder))], []


def _run_folder(stage: str, folder: Path) -> CheckpointsAndSkipped:
    by_step: dict[int, Checkpoint] = {}
    skipped = []
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        step = step_of(path.name)
        if step is not None:
            reason = why_incomplete(path)
            if reason is not None:
                skipped.append(Skipped(str(path), reason))
            elif step in by_step:
                raise BadInputError(f"{by_step[step].source} and {path} are both step {step}: remove one")
            else:
                by_step[step] = Checkpoint(stage, step, None, str(path))
        elif is_under_way(path.name):
            skipped.append(Skipped(str(path), "its name says that it is still being written"))
    last, left_out = _final(stage, folder, set(by_step), alone=not by_step and not skipped)
    return [*by_step.values(), *last], [*skipped, *left_out]


def _final(stage: str, run: Path, steps: set[int], *, alone: bool) -> CheckpointsAndSkipped:
    """The model that a run ended with, unless it is one of its checkpoints."""
    ends = [path for path in (run / FINAL, run) if path == run / FINAL or looks_like_model(path)]
    folder = next((path for path in ends if path.is_dir()), None)
    if folder is None:
        return [], []
    step = final_step(run, folder)
    if step in steps:
        return [], []
    reason = why_incomplete(folder)
    if reason is None and step is None and not alone:
        reason = f"its step is not known; give it as {stage}:STEP={folder}"
    if reason is not None:
        return [], [Skipped(str(folder), reason)]
    return [Checkpoint(stage, step, None, str(folder))], []


def _at_start(start: str, stage: str) -> CheckpointsAndSkipped:
    """The model that training began from, as step 0 of `stage`."""
    source = model_location(_not_empty(start, start))
    folder = Path(source)
    if is_gguf(source):
        return [_gguf_checkpoint(stage, 0, folder)], []
    if not folder.is_dir():
        return [_hub_checkpoint(stage, 0, source)], []
    if is_run(folder):
        raise BadInputError(f"start={start} is the folder of a run; name one model of it, as {start}/final")
    return _model_folder(stage, 0, folder)


def _check_steps(checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse what would share a folder: a stage and step twice, or a model without a step beside others."""
    folders: dict[str, str] = {}
    seen: dict[str, Checkpoint] = {}
    for checkpoint in checkpoints:
        stage, name = checkpoint.stage, checkpoint.name
        first = folders.setdefault(_file_name(stage).casefold(), stage)
        if first != stage:
            raise BadInputError(f"the stages {first!r} and {stage!r} would share a folder; rename one")
        mates = sum(other.stage == stage for other in checkpoints)
        if checkpoint.step is None and mates > 1:
            absent = "" if Path(checkpoint.source).exists() else f" (there is no folder {name} here)"
            raise BadInputError(
                f"{name} has no step, and is one of {mates} models of the stage {stage!r}{absent}: write "
                f"it as {stage}:STEP={name}, or give each model a stage of its own"
            )
        twin = seen.setdefault(checkpoint.key, checkpoint)
        if twin is not checkpoint:
            raise BadInputError(
                f"{twin.name} and {name} are both step {checkpoint.step} of the stage {stage!r}: leave one "
                "out, or write STAGE=SOURCE"
            )


def in_order(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Stage after stage in the order of first appearance, each by step, with global steps counted anew.

    >>> grpo, sft = Checkpoint("grpo", 10, None, "a"), Checkpoint("sft", 600, None, "b")
    >>> [(checkpoint.stage, checkpoint.global_step) for checkpoint in in_order([sft, grpo])]
    [('sft', 600), ('grpo', 610)]
    """
    ordered: list[Checkpoint] = []
    before = 0
    for stage in dict.fromkeys(checkpoint.stage for checkpoint in checkpoints):
        of_stage = sorted(
            (checkpoint for checkpoint in checkpoints if checkpoint.stage == stage),
            key=lambda checkpoint: checkpoint.step or 0,
        )
        ordered += [
            replace(checkpoint, global_step=None if checkpoint.step is None else before + checkpoint.step)
            for checkpoint in of_stage
        ]
        before += of_stage[-1].step or 0
    return ordered


def _file_name(stage: str) -> str:
    """The stage as the name of a folder: letters, digits, ., _ and - of it, the rest as -.

    >>> _file_name("SFT / long CoT")
    'SFT-long-CoT'
    """
    plain = re.sub(r"[^\w.]+", "-", stage).strip("-.")[:_LONGEST_NAME].strip("-.")
    return plain or "stage"
