"""What corrpo's trainer on TRL makes of rollouts, in data/trl_rollouts.json: verl's tests compare with it.

TRL and verl cannot share an environment, so this runs in corrpo's own, from the root of a checkout:

    .venv/bin/python plugins/verl/tests/record_trl.py
"""

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from corrpo import CorRPOConfig, CorRPOTrainer  # noqa: E402
from training.tiny import lab, settings, sums  # noqa: E402

_OWN, _FITTED = {"inversion_fit_tokens": 0}, {"inversion_fit_tokens": 16}
CASES = (
    _FITTED,
    {**_FITTED, "inversion_gate": "correct", "inversion_control": "shuffle"},
    _OWN,
    {**_OWN, "inversion_gate": "correct", "inversion_shape": "relu"},
    {**_OWN, "inversion_gate": "incorrect", "inversion_weight": 2.0},
    {**_OWN, "inversion_control": "negate"},
    {**_OWN, "inversion_control": "clamp"},
    {**_OWN, "inversion_control": "constant", "inversion_gate": "correct"},
    {**_OWN, "inversion_control": "shuffle"},
    {**_OWN, "inversion_weight": 0.0},
)
"""Settings: with strengths that follow from judged tokens, which is the default, and without."""


def even(completions: list, **_) -> list[float]:
    """A task reward that calls some rollouts correct: an even number of characters."""
    return [float(len(completion[0]["content"]) % 2 == 0) for completion in completions]


class Recorded(CorRPOTrainer):
    """Keeps its batch."""

    def _generate_and_score_completions(self, inputs):
        self.scored = super()._generate_and_score_completions(inputs)
        return self.scored


def recorded(case: dict, scale: str) -> tuple[dict, dict]:
    """The rollouts of the first step, always the same ones, and what the settings of `case` make of them."""
    model, tokenizer = lab("qwen2", "reasoning")
    with tempfile.TemporaryDirectory() as folder:
        common = settings(folder, max_steps=1, max_completion_length=96, scale_rewards=scale)
        config = CorRPOConfig(**common | case)
        trainer = Recorded(model, even, args=config, processing_class=tokenizer, train_dataset=sums())
        trainer.train()
    scored, logs = trainer.scored, trainer._logs

    def rows(name):
        return [
            ids[mask.bool()].tolist()
            for ids, mask in zip(scored[f"{name}_ids"], scored[f"{name}_mask"], strict=True)
        ]

    rollouts = {
        "prompts": rows("prompt"),
        "completions": rows("completion"),
        "task": list(logs["rewards"]["even"]),
        "seed": trainer.inversion_state.batch_seed(trainer.args.seed),
    }
    return rollouts, {
        "rho": list(logs["extra"]["inversion/rho"]),
        "reward": list(logs["rewards"]["inversion"]),
        f"advantages scaled by {scale}": list(logs["advantages"]),
    }


def main() -> None:
    """Write the file."""
    cases, rollouts = [], None
    for case in CASES:
        seen, plain = recorded(case, "none")
        again, scaled = recorded(case, "group")
        assert seen == again == (rollouts or seen), "the rollouts differ between settings"
        rollouts = seen
        cases.append({"settings": case, **plain, **scaled})
    target = Path(__file__).with_name("data") / "trl_rollouts.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"rollouts": rollouts, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
