"""CorRPOTrainer: TRL's GRPOTrainer with the inversion in its reward, and the same for RLOO.

What differs from the paper, and what is ours because its text is not at hand (METHOD 6):

1. rho is taken per rollout, over the tokens the policy wrote, under the policy as it stands when the rollouts
   are scored (before the update), at temperature 1 over the full vocabulary.
2. By default strengths come from estimator "own" on Q and O in all layers: one forward and one
   activation-only backward for all rollouts. On lab rollouts it ranks them like `exact`
   (benchmarks/README.md).
3. The reward is shaped, gated, scheduled and replaced by controls as corrpo.rewards.inversion says; all but
   the identity on all rollouts with a constant weight are ours.
4. A rollout without rho gets the mean of its group; one whose task rewards are all None stays unscored.

What is overridden of TRL: `_generate`, to keep the prompt's token ids; `_calculate_rewards`, to turn the rho
of all processes into the reward; saving and loading of checkpoints, to keep the starting rho of control
"clamp". Everything else (losses, importance sampling, PEFT, vLLM, evaluation, logging) is TRL's own. With
inversion_weight=0 the weights are, bit for bit, those that TRL's trainer gives.
"""

import inspect
import math
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from accelerate.utils import gather
from torch import Tensor
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer
from trl.trainer.utils import get_callable_name

from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.jobs.files import read_json, write_json
from corrpo.models.sharding import awaits_engine, full_parameters
from corrpo.rewards.inversion import inversion_reward
from corrpo.rewards.schedules import SCHEDULES
from corrpo.training.config import CorRPOConfig, CorRRLOOConfig
from corrpo.training.rollouts import RolloutMeter, RolloutSignals

STATE = "inversion_state.json"

_GIVEN_BY_TRL = {
    "prompts",
    "completions",
    "completion_ids",
    "trainer_state",
    "log_extra",
    "log_metric",
    "environments",
}
_NEVER_GIVEN = {"prompt": "prompts", "completion": "completions"}
"""Columns that TRL keeps from reward functions, and what it gives them in their place."""

# The mixin stands before a TRL trainer; type checkers see one beneath it.
_Base = GRPOTrainer if TYPE_CHECKING else object


class InversionMixin(_Base):
    """Adds the inversion reward to a TRL trainer that scores groups of rollouts; see the module."""

    args: Any
    model: Any
    model_wrapped: Any
    num_generations: Any
    num_generations_eval: Any

    def __init__(self, *given: Any, **named: Any):
        options = inspect.signature(super().__init__).bind_partial(*given, **named).arguments
        config = options["args"] = self._checked(options.get("model"), options.get("args"))
        tasks = options.get("reward_funcs")
        tasks = list(tasks) if isinstance(tasks, list | tuple) else [tasks] if tasks is not None else []
        _check_task_rewards(tasks, config)
        for which in ("train_dataset", "eval_dataset"):
            _check_columns(which, options.get(which), [] if options.get("rollout_func") else tasks)
        self._signals: Tensor | None = None
        self._prompt_ids: list[list[int]] = []
        self._written: list[list[int]] | None = None
        self._start: float | None = None
        self._measured = (0, 0)

        given_weights = config.reward_weights
        config.reward_weights = [*(given_weights or [1.0] * len(tasks)), config.inversion_weight]
        if (classes := options.get("reward_processing_classes")) is not None:
            classes = classes if isinstance(classes, list) else [classes] * len(tasks)
            options["reward_processing_classes"] = [*classes, None]
        options["reward_funcs"] = [*tasks, self._reward_function()]
        try:
            super().__init__(**options)
        finally:
            config.reward_weights = given_weights
        self._column = len(tasks)
        self._tasks = [i for i in range(len(self.reward_funcs)) if i != self._column]
        if not self._tasks and config.inversion_gate != "all":
            raise BadInputError(
                f"inversion_gate={config.inversion_gate!r} asks which rollouts are correct, and there is no "
                "task reward; give a verifier as the first of reward_funcs, or use inversion_gate='all'"
            )
        self._meter: RolloutMeter | None = None
        if not awaits_engine(self.model_wrapped):
            self._meter = RolloutMeter(self.accelerator.unwrap_model(self.model), config)

    def _checked(self, model: Any, args: Any) -> Any:
        """The config, TRL's default output folder in it if none was given."""
        config_class = CorRRLOOConfig if isinstance(self, RLOOTrainer) else CorRPOConfig
        if args is None:
            name = model if isinstance(model, str) else model.config._name_or_path
            return config_class(f"{str(name).split('/')[-1]}-CorR")
        if not isinstance(args, config_class):
            raise BadInputError(
                f"args is a {type(args).__name__}; {type(self).__name__} needs a {config_class.__name__}, "
                "which takes the same fields and the inversion_ ones"
            )
        return args

    def _reward_function(self) -> Any:
        """What stands in TRL's list of reward functions: it measures; the reward needs all processes.

        NaN in its place leaves TRL its warning of rollouts that no task reward could score.
        """

        def inversion(completion_ids: list[list[int]], **_: Any) -> list[float]:
            self._signals = self._measure(completion_ids)
            return [math.nan if self._tasks else 0.0] * len(completion_ids)

        return inversion

    def _generate(self, prompts: list) -> Any:
        """TRL's, with the prompts' token ids and the tool mask kept for the measurement."""
        generated: Any = super()._generate(prompts)
        with_tools = isinstance(self, GRPOTrainer)
        self._prompt_ids, self._written = generated[0], generated[2] if with_tools else None
        if with_tools and generated[6] is not None:
            raise UnsupportedModelError(
                "the prompts hold images, which corrpo does not measure; train on text, or with TRL's trainer"
            )
        return generated

    def _measure(self, completion_ids: list[list[int]]) -> Tensor:
        """Measure this process's rollouts; float64 [local rollouts, quantities]."""
        began = time.perf_counter()
        seen = int(self.state.num_input_tokens_seen)
        self._measured = (seen, self._measured[1] + 1 if self._measured[0] == seen else 0)
        with full_parameters(self.model_wrapped) as model, self.accelerator.autocast():
            self._meter = self._meter or RolloutMeter(model, self.args)
            signals = self._meter(
                model,
                self._prompt_ids,
                completion_ids,
                written=self._written,
                seed=self._batch_seed(),
                first=self.accelerator.process_index * len(completion_ids),
            )
        self._metrics[self._mode]["inversion/seconds"].append(time.perf_counter() - began)
        for each in fields(signals):
            self._log_completion_extra(f"inversion/{each.name}", getattr(signals, each.name).tolist())
        return signals.stacked().to(self.accelerator.device)

    def _batch_seed(self) -> int:
        """Of the choice of tokens and of control "shuffle": another for every batch, the same when resumed.

        The tokens that training has seen tell its batches apart, and a count those of an evaluation.
        """
        seen, count = self._measured
        return self.args.seed + seen + 1_000_003 * count

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Tensor:
        """TRL's rewards of all processes [rollouts, functions], with the inversion reward in its column."""
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        assert self._signals is not None
        signals = RolloutSignals.unstacked(gather(self._signals))  # pyright: ignore
        reward = inversion_reward(
            signals.rho,
            group_size=self.num_generations if self._mode == "train" else self.num_generations_eval,
            shape=self.args.inversion_shape,
            control=self.args.inversion_control,
            gate=self.args.inversion_gate,
            task=rewards[:, self._tasks[0]].double() if self._tasks else None,
            start=self._starting_rho(signals.rho),
            generator=torch.Generator().manual_seed(self._batch_seed()),
        ).to(rewards)
        if self._tasks:
            reward = reward.masked_fill(rewards[:, self._tasks].isnan().all(1), torch.nan)
        rewards[:, self._column] = reward
        self.reward_weights[self._column] = self._weight()
        self._log_signals(signals)
        return rewards

    def _starting_rho(self, rho: Tensor) -> float:
        """The mean rho of the first training rollouts that have one; that of `rho` while there is none."""
        mean = float(torch.nan_to_num(rho.nanmean()))
        if self._mode == "train" and self._start is None and not rho.isnan().all():
            self._start = mean
        return mean if self._start is None else self._start

    def _weight(self) -> float:
        """lambda now: the configured weight times its schedule at this part of the training."""
        progress = self.state.global_step / max(1, self.state.max_steps)
        return self.args.inversion_weight * SCHEDULES[self.args.inversion_schedule](progress)

    def _log_signals(self, signals: RolloutSignals) -> None:
        has_rho = ~signals.rho.isnan()
        rho = signals.rho[has_rho]
        metrics = {
            "rho_mean": rho.mean(),
            "rho_std": rho.std() if len(rho) > 1 else torch.tensor(torch.nan),
            "entropy_mean": signals.entropy_mean.nanmean(),
            "entropy_std": signals.entropy_std.nanmean(),
            "strength_mean": signals.strength_mean.nanmean(),
            "strength_std": signals.strength_std.nanmean(),
            "tokens_mean": signals.tokens.mean(),
            "without_rho": (~has_rho).double().mean(),
            "weight": self.reward_weights[self._column],
        }
        for name, value in metrics.items():
            self._metrics[self._mode][f"inversion/{name}"].append(value.item())

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """TRL's, after the starting rho: trainer_state.json, which transformers writes last, ends it."""
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            write_json(folder / STATE, {"start_rho": self._start})
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """TRL's, with the starting rho of the run that goes on."""
        super()._load_optimizer_and_scheduler(checkpoint)  # pyright: ignore
        if checkpoint is not None and (Path(checkpoint) / STATE).exists():
            self._start = read_json(Path(checkpoint) / STATE)["start_rho"]


class CorRPOTrainer(InversionMixin, GRPOTrainer):
    """TRL's GRPOTrainer with the correlation of entropy and gradient strength in the reward (CorR-PO).

    The same arguments and methods; `args` is a `CorRPOConfig`. All loss types, importance sampling levels,
    several reward functions and weights, PEFT, gradient checkpointing, DDP, vLLM, evaluation: all as in TRL
    (vLLM was not at hand to be run). Without reward functions, or with all their weights 0, it trains without
    a verifier.

    Logged beside TRL's metrics: rewards/inversion/mean and std (the reward before its weight), inversion/
    rho_mean, rho_std, entropy_mean, entropy_std (bits), strength_mean, strength_std, tokens_mean, without_rho
    (part of the rollouts), weight, seconds.

    Raises:
        BadInputError: a config, dataset or reward function that cannot work; before any training.
        UnsupportedModelError: the estimator does not fit the model; names those that do.
        NonFiniteError: while training, NaN or infinite logits or gradients.
    """

    _tag_names: ClassVar = ["trl", "grpo", "corrpo"]


class CorRRLOOTrainer(InversionMixin, RLOOTrainer):
    """TRL's RLOOTrainer with the inversion in the reward; `args` is a `CorRRLOOConfig`.

    Arguments, metrics and errors beside TRL's are those of `CorRPOTrainer`.
    """

    _tag_names: ClassVar = ["trl", "rloo", "corrpo"]


def _check_task_rewards(tasks: list[Any], config: Any) -> None:
    if "inversion" in map(get_callable_name, tasks):
        raise BadInputError(
            "a reward function is called 'inversion', which is the name of our reward's column; rename it"
        )
    weights = config.reward_weights
    if weights is not None and len(weights) != len(tasks):
        raise BadInputError(
            f"reward_weights={weights} has {len(weights)} weights for {len(tasks)} reward functions; give "
            "one each, and the weight of the inversion reward as inversion_weight"
        )


def _check_columns(which: str, data: Any, tasks: list[Any]) -> None:
    """Every column that a reward function needs is in the dataset; told before any training."""
    sets = data if isinstance(data, dict) else {"": data}
    for name, each in sets.items():
        columns = getattr(each, "column_names", None)
        if columns is None:
            continue
        title = f"{which}[{name!r}]" if name else which
        if {"image", "images"} & set(columns):
            raise BadInputError(f"{title} holds images, which corrpo does not measure; train on text prompts")
        for task in tasks:
            for column in sorted(_needed_columns(task) & set(_NEVER_GIVEN)):
                raise BadInputError(
                    f"the reward function {getattr(task, '__name__', task)!r} takes {column!r}, which TRL "
                    f"does not give; it gives {_NEVER_GIVEN[column]!r}"
                )
            missing = sorted(_needed_columns(task) - set(columns))
            if missing:
                raise BadInputError(
                    f"{title} has no column {missing[0]!r}, which the reward function "
                    f"{getattr(task, '__name__', task)!r} needs; its columns are {', '.join(columns)}: "
                    f"rename the one that holds it (dataset.rename_column), or leave the reward function out"
                )


def _needed_columns(task: Any) -> set[str]:
    """Parameters of a reward function without a default that TRL does not give itself."""
    if isinstance(task, str | torch.nn.Module) or not callable(task):
        return set()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(task).parameters.values()
    return {p.name for p in parameters if p.kind in named and p.default is p.empty} - _GIVEN_BY_TRL
