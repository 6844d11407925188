"""`corrpo monitor MODEL --calibrate FILE | --generations FILE | --serve`."""

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from corrpo.cli.printing import OptionalOutput, Printed, refuse_json
from corrpo.errors import BadInputError, in_one_line, require_packages
from corrpo.models.generation.backend import find_backend
from corrpo.models.generation.sampling import check_seed
from corrpo.models.keywords import narrow
from corrpo.models.load_options import LoadOptions
from corrpo.models.model_names import model_location
from corrpo.monitor.options import MonitorOptions, ServiceOptions, WritingOptions

if TYPE_CHECKING:
    from corrpo.monitor.calibration import Calibration
    from corrpo.monitor.monitor import Monitor


@dataclass(frozen=True, kw_only=True)
class MonitorCommand(MonitorOptions, WritingOptions, LoadOptions, ServiceOptions, Printed):
    """Flag generations whose rho is that of low reasoning, at a calibrated false-alarm rate.

    corrpo monitor MODEL --calibrate labelled.jsonl --output cal.json

    corrpo monitor MODEL --generations log.jsonl --calibration cal.json --output judged.jsonl

    corrpo monitor MODEL --serve --calibration cal.json

    corrpo monitor MODEL --generations prompts.jsonl --backend vllm --output judged.jsonl

    A line is {"prompt": ..., "response": ...}; for --calibrate also "low": true for a generation of low
    reasoning, false for others. Where --generations has lines without a response, one is written. Use one of
    the three at a time.
    """

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A local folder, a .gguf file, a name on the hub, or lab:FAMILY/KIND."""
    calibrate: Path | None = None
    """Labelled generations, as JSON lines or the generations.parquet of corrpo evaluate: find the thresholds
    and write them to --output."""
    generations: Path | None = None
    """JSONL of generations of any engine, or of prompts: judge each, and write a line for each to --output.
    Ctrl-C keeps what is done, and the same command goes on from there."""
    serve: bool = False
    """Answer POST /v1/score and /v1/generate, GET /health, /metrics and /openapi.json."""
    calibration: Path | None = None
    """What --calibrate wrote, for this model and these options. Without it nothing is flagged."""
    output: OptionalOutput = None
    """File of the results."""
    skip_bad_lines: bool = False
    """Tell bad lines and go on, in place of stopping at the first."""
    rate_of_false_alarms: float = 0.05
    """Largest share of other generations that a threshold may flag."""
    promise: float | None = None
    """Probability that this calibration keeps that rate; kept on average over calibrations if not given."""
    side: Literal["learned", "high", "low"] = "learned"
    """Which rhos are flagged: high ones, low ones, or what a third of the labelled prompts teaches."""
    seed: int = 0
    """Seed of the draws of calibration, and of responses that are written."""
    host: str = "127.0.0.1"
    """Address to listen on; any other than this machine's own needs a token."""
    port: int = 8765
    """0 takes any free one."""
    token: str | None = None
    """What clients must bear in the Authorization header; CORRPO_MONITOR_TOKEN keeps it out of the list of
    processes."""
    grace: float = 30.0
    """Seconds that requests have to be answered after SIGTERM or Ctrl-C."""


def run(options: MonitorCommand) -> dict[str, Any] | None:
    """Calibrate, judge a file, or serve.

    Returns:
        The calibration, or how many generations were judged how; None of a service.

    Raises:
        BadInputError: none or several of the three, a file or option that is missing, or a number out of
            range.
    """
    asked = [options.calibrate is not None, options.generations is not None, options.serve]
    if sum(asked) != 1:
        raise BadInputError("give one of --calibrate FILE, --generations FILE and --serve")
    if not options.serve and options.output is None:
        raise BadInputError("give --output FILE for the results")
    if options.serve and options.output is not None:
        raise BadInputError("--output is for --calibrate and --generations; --serve writes no file")
    if options.generations is None and not find_backend(options.backend).is_measurable:
        raise BadInputError(
            f"--backend {options.backend} is for --generations: it writes the responses that lines lack; "
            "the service watches token by token, which takes transformers"
        )
    if not 0 <= options.grace < float("inf"):
        raise BadInputError(f"grace={options.grace}: expected a number of seconds, 0 or more")
    check_seed(options.seed)
    if options.calibrate is not None and options.calibration is not None:
        raise BadInputError("--calibration is for --generations and --serve; --calibrate writes --output")
    if options.serve:
        refuse_json(options, "--serve does")
        return _serve(options)
    return _judge(options) if options.calibrate is None else _calibrate(options)


def _monitor(options: MonitorCommand) -> "Monitor":
    from corrpo.models.loading import load_model, quiet_loading
    from corrpo.monitor.calibration import Calibration
    from corrpo.monitor.monitor import Monitor

    calibration = Calibration.load(options.calibration) if options.calibration else None
    with quiet_loading():
        model, tokenizer = load_model(options.model, **vars(narrow(options, LoadOptions)))
    return Monitor(model, tokenizer, narrow(options, MonitorOptions), calibration, name=options.model)


def _calibrate(options: MonitorCommand) -> dict[str, Any]:
    from corrpo.jobs.run_folder import check_output
    from corrpo.monitor.calibration import calibrate
    from corrpo.monitor.generation_file import labelled_generations

    assert options.calibrate is not None
    assert options.output is not None
    if options.output.is_dir():
        raise BadInputError(f"--output {options.output} is a folder; give the file of the calibration")
    check_output(options.output.parent)
    monitor = _monitor(options)
    calibration = calibrate(
        labelled_generations(
            monitor, options.calibrate, skip_bad=options.skip_bad_lines, tell=_print_left_out, shown=True
        ),
        rate=options.rate_of_false_alarms,
        confidence=options.promise,
        side=options.side,
        seed=options.seed,
        model=monitor.description,
        settings=monitor.options.as_dict(),
    )
    calibration.save(options.output)
    print(_summary(calibration))
    print(options.output)
    return {**asdict(calibration), "output": str(options.output)}


def _summary(calibration: "Calibration") -> str:
    sign, facts = (">" if calibration.side == "high" else "<"), calibration.facts
    lines = [
        f"flagged: rho {sign} {calibration.whole:.3f} over a response, "
        f"{sign} {calibration.running:.3f} in a window; "
        f"false alarms at most {100 * calibration.rate:g} % each, from {facts['normal_prompts']} prompts"
    ]
    if facts["detected"] is not None:
        share, low, high = facts["detected"]["whole"]
        interval = "" if low is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
        auc = "none" if facts["auc"] is None else f"{facts['auc']:.2f}"
        lines.append(
            f"of {facts['low_generations']} generations of low reasoning {100 * share:.0f} %{interval} are "
            f"flagged by the whole response (AUC of high rho: {auc})"
        )
    if facts["without_rho"]:
        lines.append(f"{facts['without_rho']} of {facts['generations']} generations have no rho")
    return "\n".join(lines)


def _judge(options: MonitorCommand) -> dict[str, Any]:
    from corrpo.monitor.generation_file import judge_file
    from corrpo.monitor.journal import refuse_existing
    from corrpo.monitor.response_writers import reading, watching

    assert options.generations is not None
    assert options.output is not None
    refuse_existing(options.output)
    how = narrow(options, WritingOptions)
    watched = find_backend(options.backend).is_measurable
    writer = watching(how, options.seed) if watched else reading(_written_by_engine(options, how))
    counts = judge_file(
        _monitor(options),
        options.generations,
        options.output,
        skip_bad=options.skip_bad_lines,
        tell=_print_left_out,
        writer=writer,
        writing={**asdict(how), "seed": options.seed},
        shown=True,
    )
    options.output.with_name(f"{options.output.name}.responses").unlink(missing_ok=True)
    print(", ".join(f"{name} {count:,}" for name, count in counts.items()))
    print(options.output)
    return {**counts, "output": str(options.output)}


def _written_by_engine(options: MonitorCommand, how: WritingOptions) -> dict[int, list[int]]:
    """The responses that the file lacks, by an engine that is gone again at the end."""
    import gc

    from corrpo.models.checkpoints import Checkpoint
    from corrpo.models.generation.backend import open_backend
    from corrpo.models.load_options import LoadOptions
    from corrpo.models.source_stamp import source_stamp
    from corrpo.monitor.generation_file import source_facts
    from corrpo.monitor.response_writers import write_all

    assert options.generations is not None
    assert options.output is not None
    model = Checkpoint(options.model, None, None, model_location(options.model), options.revision)
    loading = narrow(options, LoadOptions)
    written = write_all(
        lambda: open_backend(options.backend, model, loading, options.device),
        options.generations,
        options.output,
        template=options.template,
        options=how,
        seed=options.seed,
        header={
            **source_facts(options.generations),
            "model": source_stamp(model, loading),
            "dtype": options.dtype,
            "template": options.template,
        },
        skip_bad=options.skip_bad_lines,
    )
    gc.collect()  # the engine, as much as may stay in cycles
    return written


def _serve(options: MonitorCommand) -> None:
    require_packages("--serve", "starlette", "uvicorn", extra="serve")
    from corrpo.monitor.service.app import Service
    from corrpo.monitor.service.limits import Limits
    from corrpo.monitor.service.server import listening, serve

    limits = Limits(**vars(narrow(options, ServiceOptions)))
    token = options.token or os.environ.get("CORRPO_MONITOR_TOKEN") or None
    with listening(options.host, options.port, token) as opened:
        service = Service(_monitor(options), limits, token)
        host, port = opened.getsockname()[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}/  (Ctrl-C ends it)", flush=True)
        serve(service, opened, grace=options.grace)


def _print_left_out(message: str) -> None:
    print(f"left out: {in_one_line(message)}", file=sys.stderr)
