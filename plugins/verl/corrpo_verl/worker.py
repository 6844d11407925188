"""The worker: verl's ActorRolloutRefWorker, which also measures its share of the rollouts."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from torch import nn
from verl.single_controller.base.decorator import Dispatch, make_nd_compute_dataproto_dispatch_fn, register
from verl.utils import tensordict_utils
from verl.utils.device import get_device_name
from verl.utils.profiler import DistProfiler
from verl.workers.engine_workers import ActorRolloutRefWorker

from corrpo.errors import UnsupportedModelError
from corrpo.models.sharding import full_parameters
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.rollouts import RolloutMeter

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
        with self._whole_policy() as model:
            signals = self._meter(
                model,
                prompts,
                responses,
                written=written,
                seed=tensordict_utils.get(data, SEED),
                first=self.actor.engine.get_data_parallel_rank() * len(data),
            )
        return TensorDict({SIGNALS: signals.stacked().cpu()}, batch_size=len(data))

    @contextmanager
    def _whole_policy(self) -> Iterator[nn.Module]:
        """The policy in eval mode with all of its parameters, in the precision of verl's forward passes."""
        engine = self.actor.engine
        dtype = engine._autocast_dtype
        precision = torch.autocast(get_device_name(), dtype, enabled=dtype != torch.float32)
        with engine.eval_mode(), full_parameters(engine.module) as model, precision:
            yield model
