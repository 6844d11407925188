"""Read the recipe of an experiment: a YAML file, strictly; an error names the line and the field.

models: {qwen2: lab:qwen2/reasoning}      name: what corrpo train takes as model
seeds: [0, 1, 2, 3, 4]                    the same for all arms
arms:                                     name: nothing, or settings over those of its preset
  grpo:
  corrpo:
  corrpo-0.1: {preset: corrpo, inversion_weight: 0.1}
training: {dataset: lab:sums, ...}        fields of corrpo train that all arms share
evaluation: {suite: lab:sums, n: 4}       suite, and fields of corrpo evaluate
fingerprint: {prompts: 64}                prompts of the suite, and fields of corrpo measure
analysis: {smallest_effect: 0.02}         see `verdict_rules.Analysis`
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from corrpo.errors import BadInputError, unknown_name
from corrpo.evaluation.options import EvaluateOptions
from corrpo.experiments.arms import PRESETS, Arm
from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.experiments.result_tables import BEFORE
from corrpo.experiments.verdict_rules import Analysis
from corrpo.measurement.options import MeasureOptions
from corrpo.models.generation.sampling import SEEDS
from corrpo.models.gguf import is_gguf
from corrpo.models.typed_values import describe_type
from corrpo.training.recipe import RecipeArguments, known_fields, read_yaml, recipe_of
from corrpo.training.run_stage import check_settings
from corrpo.training.stages import config_class
from corrpo.training.yaml_values import convert_value

Options = TypeVar("Options")

SET_BY_EXPERIMENT = ("model", "output_dir", "seed", "resume", "resume_from_checkpoint")
"""Fields of training that a recipe may not give."""
_SECTIONS = ("models", "seeds", "arms", "training", "evaluation", "fingerprint", "analysis")
_REQUIRED = ("models", "seeds", "arms", "training", "evaluation")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_experiment(path: Path | str) -> ExperimentRecipe:
    """Read a recipe and check all of it: every arm's settings are parsed as its stage would.

    Raises:
        BadInputError: no such file, not YAML, a key twice, an unknown key (with the nearest known one), a
            value of the wrong type or out of range, a missing field, or arms that the analysis names and the
            recipe does not have; names the file, the line and the field.
    """
    return _Reader(RecipeFile(Path(path))).recipe()


def training_arguments(
    arm: Arm, model: str, seed: int, folder: Path, place: str
) -> tuple[RecipeArguments, Any]:
    """The recipe and config of `corrpo.training.run_stage.train` for one run, in `folder`; not resumed.

    `place` is what an error is about, as "FILE line N: arms.grpo".
    """
    return recipe_of(arm.settings_of_run(model, seed, folder), config_class(arm.stage), place)


class RecipeFile:
    """A YAML file with the line of each key.

    Attributes:
        path: of the file.
        content: the sections.
        lines: the line of each key, by its path of keys.

    Raises:
        BadInputError: no such file, not YAML, no mapping, or a key twice.
    """

    def __init__(self, path: Path):
        self.path = path
        self.content, node = read_yaml(path, ", ".join(_SECTIONS))
        self.lines: dict[tuple[str, ...], int] = {}
        self._note_lines(node, ())

    def _note_lines(self, node: Any, keys: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            inner = (*keys, str(key.value))
            line = key.start_mark.line + 1
            if inner in self.lines:
                raise BadInputError(
                    f"{self.path} line {line}: {'.'.join(inner)} stands there twice, first in line "
                    f"{self.lines[inner]}; remove one"
                )
            self.lines[inner] = line
            self._note_lines(value, inner)

    def place(self, *keys: str) -> str:
        """ "FILE line N: a.b" of a field, with the line of the nearest key around it that has one."""
        around = (keys[:length] for length in range(len(keys), 0, -1))
        line = next((self.lines[outer] for outer in around if outer in self.lines), 1)
        return f"{self.path} line {line}: {'.'.join(keys)}"

    def error(self, message: object, *keys: str) -> BadInputError:
        """The error about a field."""
        return BadInputError(f"{self.place(*keys)}: {message}")

    def section(self, name: str) -> dict[str, Any]:
        """A mapping of the file, with keys as text; empty if it is not there."""
        section = self.content.get(name)
        section = {} if section is None else section
        if not isinstance(section, dict):
            raise self.error(f"{section!r} is not a mapping; expected lines like key: value", name)
        return {str(key): value for key, value in section.items()}

    def options(self, kind: type[Options], section: str, given: Mapping[str, Any]) -> Options:
        """A frozen dataclass of options from a section, each value of its field's type."""
        hints = get_type_hints(kind)
        names = [item.name for item in fields(kind)]  # pyright: ignore[reportArgumentType]
        values = {}
        for key, value in given.items():
            if key not in names:
                raise self.error(unknown_name("field", key, names), section, key)
            hint = _as_list(hints[key])
            try:
                values[key] = _finite(convert_value(value, hint))
            except ValueError:
                raise self.error(f"{value!r} is not {describe_type(hint)}", section, key) from None
            if "tuple" in str(hints[key]) and isinstance(values[key], list):
                values[key] = tuple(values[key])
        try:
            return kind(**values)
        except BadInputError as error:
            raise self.error(error, section) from error


class _Reader:
    """The recipe of a file, checked."""

    def __init__(self, file: RecipeFile):
        self.file = file

    def recipe(self) -> ExperimentRecipe:
        """Everything, checked."""
        file = self.file
        for key in file.content:
            if key not in _SECTIONS:
                raise file.error(unknown_name("field", str(key), _SECTIONS), str(key))
        missing = [name for name in _REQUIRED if not file.content.get(name)]
        if missing:
            raise BadInputError(f"{file.path}: {', '.join(missing)} must be given")
        models, seeds = self._models(), self._seeds()
        training = file.section("training")
        arms = tuple(self._arm(name, given, training) for name, given in file.section("arms").items())
        suite, evaluation = self._suite()
        prompts, fingerprint = self._prompts()
        analysis = file.options(Analysis, "analysis", file.section("analysis"))
        evaluate_options = file.options(EvaluateOptions, "evaluation", evaluation)
        self._check_comparison(analysis, arms, evaluate_options)
        return ExperimentRecipe(
            models=models,
            seeds=seeds,
            arms=arms,
            suite=suite,
            evaluation=replace(
                evaluate_options,
                n=evaluate_options.n or max(analysis.k),
                k=evaluate_options.k or tuple(analysis.k),
            ),
            prompts=prompts,
            fingerprint=file.options(MeasureOptions, "fingerprint", fingerprint),
            analysis=analysis,
        )

    def _suite(self) -> tuple[str, dict[str, Any]]:
        """The suite's name, and the other fields of its section."""
        section = self.file.section("evaluation")
        suite = section.pop("suite", None)
        if not isinstance(suite, str):
            message = "expected the name of a suite, as corrpo evaluate --suite"
            raise self.file.error(message, "evaluation", "suite")
        return suite, section

    def _prompts(self) -> tuple[int, dict[str, Any]]:
        """How many prompts rho is measured on, and the other fields of their section."""
        section = self.file.section("fingerprint")
        prompts = section.pop("prompts", 64)
        if type(prompts) is not int or prompts < 2:
            raise self.file.error(f"{prompts!r}: expected a whole number from 2 on", "fingerprint", "prompts")
        return prompts, section

    def _models(self) -> dict[str, str]:
        models = self.file.section("models")
        for name, model in models.items():
            self._check_name(name, "models")
            if not isinstance(model, str) or is_gguf(model):
                message = (
                    f"{model!r}: expected a folder, as `corrpo convert` writes one of a .gguf file, a hub "
                )
                message += "name or lab:FAMILY/KIND"
                raise self.file.error(message, "models", name)
        return models

    def _seeds(self) -> tuple[int, ...]:
        seeds = self.file.content["seeds"]
        fits = isinstance(seeds, list) and all(type(seed) is int and 0 <= seed < SEEDS // 2 for seed in seeds)
        if not fits or len(set(seeds)) < len(seeds):
            message = f"{seeds!r}: expected a list of whole numbers from 0 to {SEEDS // 2 - 1}, each once"
            raise self.file.error(message, "seeds")
        return tuple(seeds)

    def _check_name(self, name: str, section: str) -> None:
        if not _NAME.fullmatch(name) or name == BEFORE:
            message = f"a name in {section} is that of a folder: letters, digits, . _ -, and not {BEFORE!r}"
            raise self.file.error(message, section, name)

    def _arm(self, name: str, given: Any, training: Mapping[str, Any]) -> Arm:
        """The preset's settings, under those of training, under the arm's own."""
        self._check_name(name, "arms")
        given = {} if given is None else given
        if not isinstance(given, dict):
            message = f"{given!r}: expected nothing, or a mapping of settings"
            raise self.file.error(message, "arms", name)
        own = {str(key): value for key, value in given.items()}
        preset = own.pop("preset", name)
        if preset not in PRESETS:
            hint = "" if "preset" in given else "; name one by preset:"
            raise self.file.error(f"{unknown_name('preset', preset, PRESETS)}{hint}", "arms", name)
        stage = PRESETS[preset].stage
        self._check_training_fields(stage, training, "training")
        self._check_training_fields(stage, own, "arms", name)
        known = known_fields(config_class(stage))
        shared = {key: value for key, value in training.items() if key in known}
        defaults = {"report_to": "none", "save_total_limit": 2}
        arm = Arm(name, preset, stage, defaults | shared | dict(PRESETS[preset].settings) | own)
        any_model = next(iter(self.file.content["models"].values()))
        place = self.file.place("arms", name)
        recipe, config = training_arguments(arm, str(any_model), 0, Path("unused"), place)
        try:
            check_settings(stage, recipe, config)
        except BadInputError as error:
            raise BadInputError(f"{place}: {error}") from error
        return arm

    def _check_training_fields(self, stage: str, settings: Mapping[str, Any], *section: str) -> None:
        """Those of the inversion may stand in `training` though a stage does not have them."""
        known = known_fields(config_class(stage))
        for key, value in settings.items():
            if key in SET_BY_EXPERIMENT:
                raise self.file.error("is set by the experiment; leave it out", *section, key)
            is_shared_inversion = section == ("training",) and key.startswith("inversion_")
            if key not in known and not is_shared_inversion:
                raise self.file.error(unknown_name(f"field of stage {stage}", key, known), *section, key)
            try:
                _finite(convert_value(value, known.get(key, Any)))
            except ValueError:
                raise self.file.error(
                    f"{value!r} is not {describe_type(known[key])}", *section, key
                ) from None

    def _check_comparison(self, analysis: Analysis, arms: Sequence[Arm], options: EvaluateOptions) -> None:
        names = [arm.name for arm in arms]
        wanted = (analysis.treatment, *analysis.compared, *analysis.also, *analysis.also.values())
        absent = [name for name in dict.fromkeys(wanted) if name not in names]
        if absent:
            raise self.file.error(
                f"the analysis compares {', '.join(absent)}, and the arms are {', '.join(names)}; add the "
                "arms, or give analysis treatment, baseline, controls and also",
                "analysis",
            )
        if options.n is not None and options.n < max(analysis.k):
            message = f"n={options.n} generations give no pass@{max(analysis.k)}"
            raise self.file.error(message, "evaluation", "n")


def _finite(value: Any) -> Any:
    """The value; a ValueError on a number that is not finite, which no plan can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(value)
    return value


def _as_list(hint: Any) -> Any:
    """tuple[X, ...] as the list that YAML has."""
    if hint == tuple[int, ...]:
        return list[int]
    if hint == tuple[str, ...]:
        return list[str]
    if hint == (tuple[int, ...] | None):
        return list[int] | None
    return hint
