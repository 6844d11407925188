"""The key `corrpo` of verl's configuration, the check command, and a plug-in that fails to load."""

import os
import subprocess
import sys

import pytest

from corrpo.errors import BadInputError, CorrpoError
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo_verl.__main__ import check
from corrpo_verl.settings import checked_settings
from without_generation import configuration


def test_the_defaults_are_those_of_corrpo():
    assert checked_settings(configuration()) == InversionSettings()


def test_every_field_can_be_given():
    given = checked_settings(
        configuration(
            "+corrpo.inversion_weight=2",
            "+corrpo.inversion_layers=[1,-1]",
            "+corrpo.inversion_projections=[q,o]",
            "+corrpo.inversion_gate=correct",
        )
    )
    assert given == InversionSettings(
        inversion_weight=2.0,
        inversion_layers=[1, -1],
        inversion_projections=["q", "o"],
        inversion_gate="correct",
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["+corrpo.inversion_wieght=1"],
            r"wieght is unknown; .*did you mean corrpo\.inversion_w",
        ),
        (["+corrpo.inversion_gate=wrong"], "inversion_gate='wrong' is unknown; expected one of all, correct"),
        (["+corrpo.inversion_weight=heavy"], r"corrpo\.inversion_weight: .*'heavy'"),
        (["+corrpo.inversion_weight=nan"], "inversion_weight=nan: expected a finite number"),
        (["+corrpo.inversion_min_tokens=2"], "expected 3 or more"),
        (["+corrpo.inversion_layers=3"], r"corrpo\.inversion_layers: "),
        (["+corrpo=0.5"], "corrpo=0.5: expected fields"),
        (["trainer.use_v1=false"], r"trainer\.use_v1=False: .* with True alone"),
        (["actor_rollout_ref.actor.strategy=veomni"], r"strategy=veomni: .* with fsdp or fsdp2 alone"),
        (["actor_rollout_ref.actor.ulysses_sequence_parallel_size=2"], "parallel_size=2: .* with 1 alone"),
        (["actor_rollout_ref.model.use_fused_kernels=true"], "use_fused_kernels=True: .* with False alone"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(overrides, message):
    with pytest.raises(CorrpoError, match=message) as raised:
        checked_settings(configuration(*overrides))
    assert "\n" not in str(raised.value)


def test_the_check_command():
    assert "verl will train with CorRPOTrainer" in check(["trainer.v1.trainer_mode=corrpo"])
    with pytest.raises(BadInputError, match=r"verl's own trainer would run.*trainer_mode=corrpo"):
        check(["+corrpo.inversion_weight=1"])
    with pytest.raises(BadInputError, match="inversion_weight"):
        check(["corrpo.inversion_weight=1"])


def test_a_plug_in_that_fails_to_load_says_so():
    """verl itself tells it at its debug level alone."""
    broken = "import sys; sys.modules['transfer_queue'] = None; import verl"
    run = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True, check=True)
    assert "verl gets no trainer 'corrpo', as corrpo_verl cannot be imported" in run.stderr


def test_the_check_command_where_verl_loads_no_plug_in():
    command = [sys.executable, "-m", "corrpo_verl", "trainer.v1.trainer_mode=corrpo"]
    environment = {**os.environ, "VERL_USE_EXTERNAL_PLUGINS": "none"}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("corrpo_verl: verl has no trainer 'corrpo'")
