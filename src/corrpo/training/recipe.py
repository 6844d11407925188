"""Recipes: the settings of a training stage, from a YAML file with command-line flags on top.

A recipe holds fields of `RecipeArguments` (where model, data and rewards come from) and every field of the
stage's own TRL config. TRL's parser does the parsing; what is added here is that each error names the
file and the key, and defaults that let a recipe run without a GPU.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import yaml
from trl.scripts.utils import TrlParser
from trl.trainer.model_config import ModelConfig

from corrpo.errors import BadInputError, did_you_mean
from corrpo.models.gguf import is_gguf
from corrpo.models.model_names import model_location
from corrpo.models.typed_values import describe_type
from corrpo.samples.options import check_request
from corrpo.training.yaml_values import convert_value


@dataclass(kw_only=True)
class RecipeArguments(ModelConfig):
    """What a recipe says beside the stage's TRL config; TRL's own model and LoRA fields are inherited.

    Attributes:
        model_name_or_path: where `from_pretrained` finds the model, made from `model`.

    Raises:
        BadInputError: an unknown model of the lab, or a count below 1.

    >>> RecipeArguments(model="lab:qwen2/base", dataset="lab:sums").model_name_or_path.split("/")[-2:]
    ['qwen2', 'base']
    """

    model_name_or_path: str | None = field(default=None, init=False)
    model: str = field(
        metadata={"help": "A local folder, a name on the hub, or lab:FAMILY/KIND (lab:qwen2/reasoning)."}
    )
    dataset: str = field(
        metadata={
            "help": "A .jsonl, .json or .parquet file, a folder (of save_to_disk, or of such files), a name "
            "on the hub, or a task of the lab (lab:sums). Nothing is downloaded for a local path."
        }
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a hub dataset."})
    dataset_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of a hub dataset."}
    )
    train_split: str = field(default="train", metadata={"help": "Split that is trained on."})
    max_samples: int | None = field(
        default=None, metadata={"help": "Train on the first so many rows. Default: all."}
    )
    eval_dataset: str | None = field(
        default=None,
        metadata={"help": "Like dataset, for evaluation while training; goes with eval_strategy: steps."},
    )
    eval_split: str | None = field(
        default=None,
        metadata={
            "help": "Split of eval_dataset, or of dataset if eval_dataset is not given. Default: test; train "
            "for a single file."
        },
    )
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Evaluate on the first so many rows. Default: all."}
    )
    prompt_column: str = field(
        default="prompt", metadata={"help": "Column of the prompts, as text or as chat messages (RL)."}
    )
    answer_column: str = field(
        default="answer",
        metadata={"help": "Column of the right answers, for math and exact (RL)."},
    )
    request: str | None = field(
        default=None,
        metadata={
            "help": "What is asked, with {problem} in the place of each text prompt (RL), as --prompt of "
            "corrpo evaluate. Default: the prompt as it stands."
        },
    )
    system_prompt: str | None = field(
        default=None, metadata={"help": "System message put before every prompt (RL)."}
    )
    rewards: list[str] = field(
        default_factory=lambda: ["math", "format"],
        metadata={
            "help": "Task rewards (RL): math (math-verify), exact (the tagged answer as it stands), format "
            "(think and answer tags). TRL's reward_weights weighs them, in this order."
        },
    )
    resume: bool = field(
        default=False, metadata={"help": "Go on from the last complete checkpoint in output_dir."}
    )

    def __post_init__(self) -> None:
        if is_gguf(self.model):
            raise BadInputError(
                f"model={self.model}: training starts from a folder; write one with `corrpo convert "
                f"{self.model} FOLDER`, and give that"
            )
        self.model_name_or_path = model_location(self.model)
        for name in ("max_samples", "max_eval_samples"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise BadInputError(f"{name}={count}: expected 1 or more, or nothing for all rows")
        if self.request is not None:
            check_request("request", self.request)
        super().__post_init__()


def parse_recipe(config_class: type, words: Sequence[str]) -> tuple[RecipeArguments, Any]:
    """Read `--config FILE` and the flags after it into the two objects that `train` takes.

    Args:
        config_class: the stage's config, a subclass of TrainingArguments.
        words: the command line after the stage. A flag stands over the same key of the file; values of
            lists follow their flag one by one.

    Returns:
        The recipe, and the config of `config_class`.

    Raises:
        BadInputError: no such file, not YAML, an unknown key or flag (with the nearest known one), a value
            of the wrong type, a missing field, or values that do not go together.
    """
    path, flags = _config_path(words)
    parser = _Parser(RecipeArguments, config_class)
    given = _machine_defaults()
    if path is not None:
        given |= _checked(path, read_yaml(path, "lines like model: lab:qwen2/base")[0], config_class)
    with _mistakes_placed("" if path is None else f"{path}, with the flags given: "):
        given |= parser.given(flags)
        missing = [f"--{name}" for name in ("model", "dataset", "output_dir") if name not in given]
        if missing:
            raise BadInputError(f"{', '.join(missing)} must be given, in the recipe or as a flag")
        return parser.parse_dict(given)  # pyright: ignore[reportReturnType]


def recipe_of(content: dict[str, Any], config_class: type, place: str) -> tuple[RecipeArguments, Any]:
    """As `parse_recipe`, of settings that are at hand; `place` stands in front of each mistake."""
    given = _machine_defaults() | _checked(place, content, config_class)
    with _mistakes_placed(f"{place}: "):
        return _Parser(RecipeArguments, config_class).parse_dict(given)  # pyright: ignore[reportReturnType]


@contextmanager
def _mistakes_placed(place: str) -> Iterator[None]:
    try:
        yield
    except BadInputError as error:
        raise BadInputError(f"{place}{error}") from error
    except (ValueError, TypeError) as error:
        raise BadInputError(f"{place}these settings do not go together: {error}") from error


def known_fields(config_class: type) -> dict[str, Any]:
    """Every key that a recipe of a stage may have, with its type hint."""
    hints = {}
    for kind in (RecipeArguments, config_class):
        resolved = get_type_hints(kind)
        hints |= {item.name: resolved[item.name] for item in fields(kind) if item.init}
    return hints


def evaluates(config: Any) -> bool:
    """Whether a stage's config asks for evaluations while it trains."""
    return config.eval_strategy.value != "no"


def rounds_factors(config: Any) -> bool:
    """Whether `bf16` is meant for matrix products, as on a CPU, and not for autocast."""
    return config.bf16 and config.device.type == "cpu"


def settings_used(recipe: RecipeArguments, config: Any) -> dict[str, Any]:
    """Every setting of a run by name, JSON-safe, without `resume`; hub tokens are masked."""
    everything = asdict(recipe) | config.to_dict()
    del everything["resume"]
    return json.loads(json.dumps(everything, default=str))


class _Parser(TrlParser):
    """TRL's parser; it tells which flags were given, and raises a mistake in place of a page of usage."""

    def __init__(self, *kinds: Any):
        types = [(item, item.type) for kind in kinds for item in fields(kind)]
        super().__init__(kinds, allow_abbrev=False, add_help=False)
        for item, kind in types:
            item.type = kind  # TRL's parser narrows them, also for classes that inherit the fields later
        self.known = sorted(known_fields(kinds[-1]))
        for action in self._actions:
            action.default, action.required = argparse.SUPPRESS, False

    def given(self, flags: Sequence[str]) -> dict[str, Any]:
        """The fields that the flags set."""
        namespace, unknown = self.parse_known_args(list(flags))
        if unknown:
            raise BadInputError(_unknown(unknown[0], self.known, "flag"))
        return vars(namespace)

    def error(self, message: str) -> NoReturn:
        raise BadInputError(message)


def _config_path(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--config", type=Path)
    try:
        known, rest = first.parse_known_args(list(words))
    except argparse.ArgumentError as error:
        raise BadInputError(f"{error}: give the recipe's path, --config recipe.yaml") from error
    return known.config, rest


def read_yaml(path: Path, expected: str) -> tuple[dict[str, Any], Any]:
    """The settings in a YAML file, and its nodes, which know their lines."""
    try:
        text = path.read_text(encoding="utf-8")
        content, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise BadInputError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"the recipe {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise BadInputError(f"the recipe {path} holds no settings; expected {expected}")
    return content, node


def _machine_defaults() -> dict[str, Any]:
    """Where TRL's defaults are others: no tracker, one voice, and without CUDA the CPU in full precision."""
    defaults: dict[str, Any] = {
        "report_to": "none",
        "ddp_find_unused_parameters": False,
        "log_level_replica": "error",
    }
    import torch

    if not torch.cuda.is_available():
        defaults |= {"use_cpu": True, "bf16": False}
    return defaults


def _checked(path: Path | str, content: dict[str, Any], config_class: type) -> dict[str, Any]:
    """The settings of a file, each of its field's type."""
    hints = known_fields(config_class)
    checked = {}
    for key, value in content.items():
        if key not in hints:
            raise BadInputError(f"{path}: {_unknown(key, sorted(hints), 'key')}")
        try:
            checked[key] = convert_value(value, hints[key])
        except ValueError:
            hint = "; YAML reads a bare yes, no, on or off as true or false: put it in quotes"
            raise BadInputError(
                f"{path}: {key}: {value!r} is not {describe_type(hints[key])}"
                f"{hint if isinstance(value, bool) else ''}"
            ) from None
    _check_choices(path, checked, config_class)
    return checked


def _check_choices(path: Path | str, checked: dict[str, Any], config_class: type) -> None:
    """TRL's parser holds only flags to a field's list of choices; this holds the file to it."""
    for item in (*fields(RecipeArguments), *fields(config_class)):
        choices = item.metadata.get("choices")
        if choices and item.name in checked and checked[item.name] not in choices:
            raise BadInputError(
                f"{path}: {item.name}: {checked[item.name]!r}; expected one of {', '.join(choices)}"
            )


def _unknown(name: str, known: Sequence[str], what: str) -> str:
    plain = name.lstrip("-").partition("=")[0].replace("-", "_")
    if not name.startswith("-") and what == "flag":
        return f"{name!r} follows no flag that takes it; flags look like --max_steps 100"
    hint = did_you_mean(plain, known, prefix="--" if what == "flag" else "")
    return f"there is no {what} {name}{hint} (corrpo train STAGE --help lists what there is)"
