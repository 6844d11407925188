"""CorRPOTrainer: TRL's GRPOTrainer with the inversion in its reward, and the same for RLOO.

What differs from the paper, and what is ours because its text is not at hand (METHOD 6):

1. rho is taken per rollout, over the tokens the policy wrote, under the policy as it stands when the rollouts
   are scored (before the update), at temperature 1 over the full vocabulary.
2. By default strengths follow from the own-position part of every gradient, all projections and layers, by a
   regression that is fitted during the run to tokens which `pruned` judges (METHOD 3 and 6): one forward and
   one activation-only backward for all rollouts, and a few more for the judged tokens.
3. The reward is shaped, gated, scheduled and replaced by controls as corrpo.rewards.inversion says; all but
   the identity on all rollouts with a constant weight are ours.
4. A rollout without rho gets the mean of its group; one whose task rewards are all None stays unscored.

What is overridden of TRL: `_generate`, to keep the prompt's token ids; `_calculate_rewards`, to put the
reward of `corrpo.rewards.inversion_step` into its column; saving and loading of checkpoints, to keep the
starting rho of control "clamp" and the judged tokens. Everything else (losses, importance sampling, PEFT,
vLLM, evaluation, logging) is TRL's own. With inversion_weight=0 the weights are, bit for bit, those that
TRL's trainer gives.
"""

import inspect
import logging
import math
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from accelerate.utils import gather, gather_object
from torch import Tensor
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.models.sharding import awaits_engine, full_parameters
from corrpo.rewards.inversion_step import INVERSION_FIT, InversionState, inversion_step
from corrpo.rewards.rollouts import RolloutMeter, RolloutSignals
from corrpo.rewards.strength_fit import StrengthFit
from corrpo.training.config import CorRPOConfig, CorRRLOOConfig
from corrpo.training.model_card import PAPER
from corrpo.training.prompts import check_prompts
from corrpo.training.reward_functions import check_columns, check_names_and_weights

logger = logging.getLogger(__name__)

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
        check_names_and_weights(tasks, config.reward_weights)
        for which in ("train_dataset", "eval_dataset"):
            check_columns(which, options.get(which), [] if options.get("rollout_func") else tasks)
        self._signals: Tensor | None = None
        self._prompt_ids: list[list[int]] = []
        self._written: list[list[int]] | None = None
        self.inversion_state = InversionState()

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
            with self.accelerator.autocast():
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
        if getattr(self, "rollout_func", None) is None:
            check_prompts(prompts, self._tokenizer)
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
        self.inversion_state.count_batch(int(self.state.num_input_tokens_seen))
        with full_parameters(self.model_wrapped) as model, self.accelerator.autocast():
            self._meter = self._meter or RolloutMeter(model, self.args)
            rollouts: dict[str, Any] = {
                "model": model,
                "prompt_ids": self._prompt_ids,
                "completion_ids": completion_ids,
                "written": self._written,
                "seed": self.inversion_state.batch_seed(self.args.seed),
                "first": self.accelerator.process_index * len(completion_ids),
            }
            signals = self._meter(**rollouts, fit=self._fit(self._meter, rollouts))
        self._metrics[self._mode]["inversion/seconds"].append(time.perf_counter() - began)
        for quantity in fields(signals):
            values = getattr(signals, quantity.name).tolist()
            self._log_completion_extra(f"inversion/{quantity.name}", values)
        return signals.stacked().to(self.accelerator.device)

    def _fit(self, meter: RolloutMeter, rollouts: dict[str, Any]) -> StrengthFit:
        """The run's fit, with tokens of this batch; an evaluation leaves it as it is."""
        fit = self.inversion_state.fit
        if not meter.fits or (self._mode == "eval" and fit.judged is not None):
            return fit
        fit = fit if self._mode == "train" else StrengthFit()
        total = self.accelerator.num_processes * len(rollouts["completion_ids"])
        own = meter.judge(**rollouts, fit=fit, total=total)
        for judged in gather_object([own]):
            fit.add(judged)
        return fit

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
        is_training = self._mode == "train"
        step = inversion_step(
            signals,
            rewards[:, self._tasks],
            self.args,
            self.inversion_state,
            group_size=self.num_generations if is_training else self.num_generations_eval,
            seed=self.inversion_state.batch_seed(self.args.seed),
            progress=self.state.global_step / max(1, self.state.max_steps),
            is_training=is_training,
        )
        rewards[:, self._column] = step.reward.to(rewards)
        self.reward_weights[self._column] = step.weight
        metrics = step.metrics | {"weight": self.reward_weights[self._column].item()}
        for name, value in metrics.items():
            self._metrics[self._mode][f"inversion/{name}"].append(value)
        return rewards

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """TRL's, after the inversion's state: trainer_state.json, which transformers writes last, ends it."""
        if self.args.should_save:
            run = Path(self._get_output_dir(trial=trial))
            self.inversion_state.save(run / f"checkpoint-{self.state.global_step}", self.args)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """TRL's, with the inversion's state of the run that goes on; told if it has none."""
        super()._load_optimizer_and_scheduler(checkpoint)  # pyright: ignore
        if checkpoint is not None:
            self.inversion_state.load(Path(checkpoint), self.args)
            if self.args.fit_tokens and not (Path(checkpoint) / INVERSION_FIT).exists():
                logger.warning(
                    "%s keeps no judged tokens: the regression of strengths starts anew, and if the run was "
                    "begun by corrpo 0.2 its reward changes here; inversion_fit_tokens=0 goes on with that "
                    "of 0.2",
                    checkpoint,
                )


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
    _name = "CorR-PO"
    _paper: ClassVar = PAPER


class CorRRLOOTrainer(InversionMixin, RLOOTrainer):
    """TRL's RLOOTrainer with the inversion in the reward; `args` is a `CorRRLOOConfig`.

    Arguments, metrics and errors beside TRL's are those of `CorRPOTrainer`.
    """

    _tag_names: ClassVar = ["trl", "rloo", "corrpo"]
    _name = "CorR-RLOO"
    _paper: ClassVar = PAPER
