"""The recipe of an experiment: one YAML file, read strictly; a mistake is told with its line and field.

models: {qwen2: lab:qwen2/reasoning}      name: what corrpo train takes as model
seeds: [0, 1, 2, 3, 4]                    the same for all arms
arms:                                     name: nothing, or settings over those of its preset
  grpo:
  corrpo:
  corrpo-0.1: {preset: corrpo, inversion_weight: 0.1}
training: {dataset: lab:sums, ...}        fields of corrpo train that all arms share
evaluation: {suite: lab:sums, n: 4}       suite, and fields of corrpo evaluate
fingerprint: {prompts: 64}                prompts of the suite, and fields of corrpo measure
analysis: {smallest_effect: 0.02}         see `analysis.Analysis`
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from corrpo.errors import BadInputError, unknown_name
from corrpo.evaluation.options import EvaluateOptions
from corrpo.experiments.analysis import RULES, Analysis
from corrpo.experiments.arms import PRESETS
from corrpo.experiments.results import BEFORE
from corrpo.measurement import MeasureOptions
from corrpo.training.recipe import known_fields, recipe_of
from corrpo.training.stages import config_class
from corrpo.training.values import converted, described

OWN = ("model", "output_dir", "seed", "resume", "eval_strategy", "resume_from_checkpoint")
"""Fields of training that the experiment sets itself."""
_SECTIONS = ("models", "seeds", "arms", "training", "evaluation", "fingerprint", "analysis")
_NEEDED = ("models", "seeds", "arms", "training", "evaluation")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Arm:
    """An arm: its name, the stage that trains it, and all its settings but model, seed and folder."""

    name: str
    preset: str
    stage: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class ExperimentRecipe:
    """A recipe that was read and checked.

    Attributes:
        models: name to model.
        seeds: of training and of the generations that are scored.
        arms: in the recipe's order.
        suite: held-out problems, as `corrpo evaluate --suite` takes them.
        evaluation: how they are asked; its own seed is that of the problems.
        prompts: of the first so many problems, the model's own responses are measured for rho.
        fingerprint: how.
        analysis: what is compared.
    """

    models: dict[str, str]
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    suite: str
    evaluation: EvaluateOptions
    prompts: int
    fingerprint: MeasureOptions
    analysis: Analysis

    def as_dict(self) -> dict[str, Any]:
        """Everything that decides the results, with the rules of the verdict; JSON-safe."""
        return {
            "models": self.models,
            "seeds": list(self.seeds),
            "arms": {each.name: {"stage": each.stage, "settings": each.settings} for each in self.arms},
            "evaluation": {"suite": self.suite, **self.evaluation.as_dict()},
            "fingerprint": {"prompts": self.prompts, **self.fingerprint.as_dict()},
            "analysis": {**vars(self.analysis), "rules": list(RULES)},
        }

    @property
    def digest(self) -> str:
        """SHA-256 of `as_dict`."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()


def read_experiment(path: Path | str) -> ExperimentRecipe:
    """Read a recipe and check all of it: every arm's settings are parsed as its stage would.

    Raises:
        BadInputError: no such file, not YAML, a key twice, an unknown key (with the nearest known one), a
            value of the wrong type or out of range, a missing field, or arms that the analysis names and the
            recipe does not have; names the file, the line and the field.
    """
    return _Reader(Path(path)).recipe()


class _Reader:
    """One recipe file: its content, and the line of each key."""

    def __init__(self, path: Path):
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            content = yaml.safe_load(text)
        except OSError as error:
            raise BadInputError(f"cannot read the recipe {path}: {error.strerror or error}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BadInputError(f"the recipe {path} is not valid YAML: {error}") from error
        if not isinstance(content, dict):
            raise BadInputError(f"the recipe {path} holds no settings; expected {', '.join(_SECTIONS)}")
        self.content: dict[str, Any] = content
        self.lines: dict[tuple[str, ...], int] = {}
        self._note_lines(node, ())

    def _note_lines(self, node: Any, place: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            at = (*place, str(key.value))
            line = key.start_mark.line + 1
            if at in self.lines:
                raise BadInputError(
                    f"{self.path} line {line}: {'.'.join(at)} stands there twice, first in line "
                    f"{self.lines[at]}; remove one"
                )
            self.lines[at] = line
            self._note_lines(value, at)

    def place(self, *at: str) -> str:
        """ "FILE line N: a.b" of a field, with the line of the nearest thing around it that has one."""
        line = next((self.lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in self.lines), 1)
        return f"{self.path} line {line}: {'.'.join(at)}"

    def wrong(self, message: str, *at: str) -> BadInputError:
        """The error about a field."""
        return BadInputError(f"{self.place(*at)}: {message}")

    def recipe(self) -> ExperimentRecipe:
        """Everything, checked."""
        for key in self.content:
            if key not in _SECTIONS:
                raise self.wrong(str(unknown_name("field", str(key), _SECTIONS)), str(key))
        missing = [name for name in _NEEDED if not self.content.get(name)]
        if missing:
            raise BadInputError(f"{self.path}: {', '.join(missing)} must be given")
        models, seeds = self._models(), self._seeds()
        training = self._section("training")
        arms = tuple(self._arm(name, given, training) for name, given in self._section("arms").items())
        evaluation = self._section("evaluation")
        suite = evaluation.pop("suite", None)
        if not isinstance(suite, str):
            raise self.wrong(
                "expected the name of a suite, as corrpo evaluate --suite", "evaluation", "suite"
            )
        fingerprint = self._section("fingerprint")
        prompts = fingerprint.pop("prompts", 64)
        if type(prompts) is not int or prompts < 2:
            raise self.wrong(f"{prompts!r}: expected a whole number from 2 on", "fingerprint", "prompts")
        analysis: Analysis = self._dataclass(Analysis, "analysis", self._section("analysis"))
        options: EvaluateOptions = self._dataclass(EvaluateOptions, "evaluation", evaluation)
        most = max(analysis.k)
        self._check_comparison(analysis, arms, options)
        options = replace(options, n=options.n or most, k=options.k or tuple(analysis.k))
        return ExperimentRecipe(
            models,
            seeds,
            arms,
            suite,
            options,
            prompts,
            self._dataclass(MeasureOptions, "fingerprint", fingerprint),
            analysis,
        )

    def _section(self, name: str) -> dict[str, Any]:
        """A mapping of the file, with keys as text; empty if it is not there."""
        found = self.content.get(name)
        found = {} if found is None else found
        if not isinstance(found, dict):
            raise self.wrong(f"{found!r} is not a mapping; expected lines like key: value", name)
        return {str(key): value for key, value in found.items()}

    def _models(self) -> dict[str, str]:
        models = self._section("models")
        for name, model in models.items():
            self._check_name(name, "models")
            if not isinstance(model, str):
                raise self.wrong(
                    f"{model!r}: expected a folder, a hub name or lab:FAMILY/KIND", "models", name
                )
        return models

    def _seeds(self) -> tuple[int, ...]:
        seeds = self.content["seeds"]
        fits = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
        if not fits or len(set(seeds)) < len(seeds):
            raise self.wrong(f"{seeds!r}: expected a list of whole numbers from 0 on, each once", "seeds")
        return tuple(seeds)

    def _check_name(self, name: str, section: str) -> None:
        if not _NAME.fullmatch(name) or name == BEFORE:
            raise self.wrong(
                f"a name in {section} is that of a folder: letters, digits, . _ -, and not {BEFORE!r}",
                section,
                name,
            )

    def _arm(self, name: str, given: Any, training: Mapping[str, Any]) -> Arm:
        """The preset's settings, under those of training, under the arm's own."""
        self._check_name(name, "arms")
        given = {} if given is None else given
        if not isinstance(given, dict):
            raise self.wrong(f"{given!r}: expected nothing, or a mapping of settings", "arms", name)
        own = {str(key): value for key, value in given.items()}
        preset = own.pop("preset", name)
        if preset not in PRESETS:
            hint = "" if "preset" in given else "; name one by preset:"
            raise self.wrong(f"{unknown_name('preset', preset, PRESETS)}{hint}", "arms", name)
        stage = PRESETS[preset].stage
        known = known_fields(config_class(stage))
        shared = {
            key: value for key, value in training.items() if key in known or not key.startswith("inversion_")
        }
        for section, settings in ((("training",), training), (("arms", name), own)):
            for key in settings:
                if key in OWN:
                    raise self.wrong("is set by the experiment; leave it out", *section, key)
                if key not in known and not (section == ("training",) and key.startswith("inversion_")):
                    raise self.wrong(f"{unknown_name(f'field of stage {stage}', key, known)}", *section, key)
        settings = (
            {"report_to": "none", "save_total_limit": 2} | shared | dict(PRESETS[preset].settings) | own
        )
        arm = Arm(name, preset, stage, settings)
        some = next(iter(self.content["models"].values()))
        of_run(arm, str(some), 0, Path("unused"), self.place("arms", name))
        return arm

    def _dataclass(self, kind: Any, section: str, given: dict[str, Any]) -> Any:
        """A frozen dataclass of options from a section, each value of its field's type."""
        hints = get_type_hints(kind)
        names = [item.name for item in fields(kind)]
        values = {}
        for key, value in given.items():
            if key not in names:
                raise self.wrong(str(unknown_name("field", key, names)), section, key)
            hint = _as_list(hints[key])
            try:
                values[key] = converted(value, hint)
            except ValueError:
                raise self.wrong(f"{value!r} is not {described(hint)}", section, key) from None
            if "tuple" in str(hints[key]) and isinstance(values[key], list):
                values[key] = tuple(values[key])
        try:
            return kind(**values)
        except BadInputError as error:
            raise self.wrong(str(error), section) from error

    def _check_comparison(self, analysis: Analysis, arms: Sequence[Arm], options: EvaluateOptions) -> None:
        names = [arm.name for arm in arms]
        wanted = (analysis.treatment, *analysis.compared, *analysis.also, *analysis.also.values())
        absent = [each for each in dict.fromkeys(wanted) if each not in names]
        if absent:
            raise self.wrong(
                f"the analysis compares {', '.join(absent)}, and the arms are {', '.join(names)}; add the "
                "arms, or give analysis treatment, baseline, controls and also",
                "analysis",
            )
        if options.n is not None and options.n < max(analysis.k):
            raise self.wrong(f"n={options.n} generations give no pass@{max(analysis.k)}", "evaluation", "n")


def of_run(arm: Arm, model: str, seed: int, folder: Path, place: str) -> tuple[Any, Any]:
    """The recipe and config of `corrpo.training.stages.train` for one run, in `folder`; not resumed."""
    return recipe_of(settings_of(arm, model, seed, folder), config_class(arm.stage), place)


def settings_of(arm: Arm, model: str, seed: int, folder: Path) -> dict[str, Any]:
    """The fields of `corrpo train` for one run, in `folder`."""
    return arm.settings | {"model": model, "seed": seed, "output_dir": str(folder)}


def _as_list(hint: Any) -> Any:
    """tuple[X, ...] as the list that YAML has."""
    if hint == tuple[int, ...]:
        return list[int]
    if hint == tuple[str, ...]:
        return list[str]
    if hint == (tuple[int, ...] | None):
        return list[int] | None
    return hint
