"""The worker: verl's ActorRolloutRefWorker, which also measures its share of the rollouts."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from tensordict import TensorDict
from torch import Tensor, nn
from verl.single_controller.base.decorator import Dispatch, make_nd_compute_dataproto_dispatch_fn, register
from verl.utils import tensordict_utils
from verl.utils.device import get_device_name
from verl.utils.profiler import DistProfiler
from verl.workers.engine_workers import ActorRolloutRefWorker

from corrpo.errors import UnsupportedModelError
from corrpo.models.sharding import full_parameters
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.rollouts import RolloutMeter
from corrpo.rewards.strength_fit import StrengthFit

READ_FIELDS = ["prompts", "responses", "response_mask", "multi_modal_inputs"]
"""The fields of a batch that `measure_rollouts` reads."""

SIGNALS = "inversion_signals"
"""The field that it adds: float64 [rows, quantities], `RolloutSignals.stacked`."""

SEED = "inversion_seed"
"""The seed of the batch, in its extra_info."""


class CorRPOWorker(ActorRolloutRefWorker):
    """verl's worker of policy, rollout and reference; its `config.corrpo` holds the `InversionSettings`."""

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def init_model(self) -> None:
        """verl's, and the estimator tried on four tokens.

        Raises:
            UnsupportedModelError: the estimator does not fit the model; names those that do.
            BadInputError: a layer that the model does not have.
        """
        super().init_model()
        settings = OmegaConf.to_container(self.config.corrpo)
        with self._whole_policy() as model:
            self._meter = RolloutMeter(model, InversionSettings(**settings))
        self._fit = StrengthFit()

    @register(dispatch_mode=make_nd_compute_dataproto_dispatch_fn(mesh_name="actor"))
    @DistProfiler.annotate(color="blue", role="measure_rollouts")
    def measure_rollouts(self, data: TensorDict) -> TensorDict:
        """Measure rollouts under the policy as it stands.

        Args:
            data: this worker's rows: token ids of prompt and response, and which of them the policy wrote.

        Returns:
            `SIGNALS` of each row; a row of which the policy wrote nothing, such as padding, has no rho.

        Raises:
            NonFiniteError: NaN or infinite logits or gradients.
            UnsupportedModelError: a prompt with images.
        """
        if any(tensordict_utils.get(data, "multi_modal_inputs")):
            raise UnsupportedModelError(
                "the prompts hold images, which corrpo does not measure; train on text, or by verl's own"
            )
        prompts, responses, written = (
            [row.tolist() for row in data[field].unbind()] for field in READ_FIELDS[:3]
        )
        engine, how = self.actor.engine, {"written": written, "seed": tensordict_utils.get(data, SEED)}
        how["first"] = engine.get_data_parallel_rank() * len(data)
        total = engine.get_data_parallel_size() * len(data)
        with self._whole_policy() as model:
            self._add(self._meter.judge(model, prompts, responses, self._fit, total=total, **how))
            signals = self._meter(model, prompts, responses, fit=self._fit, **how)
        return TensorDict({SIGNALS: signals.stacked().cpu()}, batch_size=len(data))

    def _add(self, judged: Tensor) -> None:
        """Take the tokens that all workers judged into the fit, the same on each."""
        group = self.actor.engine.get_data_parallel_group()
        gathered: list[Tensor] = [judged] * dist.get_world_size(group)
        dist.all_gather_object(gathered, judged, group)
        if tokens := [part for part in gathered if len(part)]:
            self._fit.add(torch.cat(tokens))

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def judged_tokens(self) -> Tensor | None:
        """The tokens from which strengths follow, for a checkpoint: `StrengthFit.judged`."""
        return self._fit.judged

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def set_judged_tokens(self, judged: Tensor | None) -> None:
        """Go on with the tokens of a checkpoint, or with none."""
        self._fit = StrengthFit(judged)

    @contextmanager
    def _whole_policy(self) -> Iterator[nn.Module]:
        """The policy in eval mode with all of its parameters, in the precision of verl's forward passes."""
        engine = self.actor.engine
        dtype = engine._autocast_dtype
        precision = torch.autocast(get_device_name(), dtype, enabled=dtype != torch.float32)
        with engine.eval_mode(), full_parameters(engine.module) as model, precision:
            yield model
