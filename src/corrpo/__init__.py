"""corrpo: measure Entropy-Gradient Inversion in language models, with intervals and controls.

>>> import corrpo, torch
>>> corrpo.token_entropy(torch.zeros(4)).item()
2.0

Names are imported when they are first used, so that `import corrpo` is quick. Those that train need the
packages of the extra train: pip install -c constraints.txt '.[train]' in a checkout.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corrpo.answers.verdict import is_correct
    from corrpo.errors import CorrpoError
    from corrpo.measurement.fingerprint import Fingerprint
    from corrpo.measurement.options import MeasureOptions
    from corrpo.measurement.pipeline import measure
    from corrpo.models.loading import load_model
    from corrpo.strength.entropy import token_entropy
    from corrpo.strength.gradient_norms import logit_gradient_norms
    from corrpo.strength.spec import GradientSpec
    from corrpo.training.callback import FingerprintCallback
    from corrpo.training.config import CorRPOConfig, CorRRLOOConfig
    from corrpo.training.trainer import CorRPOTrainer, CorRRLOOTrainer

    __version__: str

__all__ = [
    "CorRPOConfig",
    "CorRPOTrainer",
    "CorRRLOOConfig",
    "CorRRLOOTrainer",
    "CorrpoError",
    "Fingerprint",
    "FingerprintCallback",
    "GradientSpec",
    "MeasureOptions",
    "is_correct",
    "load_model",
    "logit_gradient_norms",
    "measure",
    "token_entropy",
]

_HOMES = {
    "CorRPOConfig": "corrpo.training.config",
    "CorRPOTrainer": "corrpo.training.trainer",
    "CorRRLOOConfig": "corrpo.training.config",
    "CorRRLOOTrainer": "corrpo.training.trainer",
    "CorrpoError": "corrpo.errors",
    "Fingerprint": "corrpo.measurement.fingerprint",
    "FingerprintCallback": "corrpo.training.callback",
    "GradientSpec": "corrpo.strength.spec",
    "MeasureOptions": "corrpo.measurement.options",
    "is_correct": "corrpo.answers.verdict",
    "load_model": "corrpo.models.loading",
    "logit_gradient_norms": "corrpo.strength.gradient_norms",
    "measure": "corrpo.measurement.pipeline",
    "token_entropy": "corrpo.strength.entropy",
}


_MOVED = {
    "corrpo.adapters": "corrpo.models.peft_adapters",
    "corrpo.comparison": "corrpo.measurement.comparison",
    "corrpo.costs": "benchmarks/cost_model of the repository, and --dry-run of measure, track and evaluate",
    "corrpo.distributed": "corrpo.jobs.workers",
    "corrpo.dynamics": "corrpo.models.checkpoints, corrpo.measurement.track, corrpo.measurement.trajectory",
    "corrpo.entropy": "corrpo.strength.entropy",
    "corrpo.estimators": "corrpo.strength.gradient_norms, corrpo.strength.estimators",
    "corrpo.eval_mode": "corrpo.models.eval_mode",
    "corrpo.evaluation.backends": "corrpo.models.generation.backends",
    "corrpo.evaluation.generations": "corrpo.evaluation.scored_generations",
    "corrpo.evaluation.performance": "corrpo.report.checkpoint_performance",
    "corrpo.experiments.analysis": "corrpo.experiments.verdict_rules",
    "corrpo.experiments.association": "corrpo.experiments.accuracy_against_rho",
    "corrpo.experiments.contrasts": "corrpo.experiments.arm_difference",
    "corrpo.experiments.results": "corrpo.experiments.result_tables",
    "corrpo.experiments.run": "corrpo.experiments.one_run",
    "corrpo.experiments.schedule": "corrpo.experiments.run_experiment",
    "corrpo.experiments.simulate": "corrpo.experiments.simulated_experiments",
    "corrpo.experiments.summary": "corrpo.experiments.experiment_result",
    "corrpo.fingerprint": "corrpo.measurement.fingerprint",
    "corrpo.generation": "corrpo.models.generation",
    "corrpo.lab.data": "corrpo.lab.build.training_data",
    "corrpo.lab.demo": "corrpo.cli.demos.measuring",
    "corrpo.lab.evaluate": "corrpo.lab.build.solve_rates",
    "corrpo.lab.refusals": "corrpo.lab.build.chats",
    "corrpo.lab.text": "corrpo.lab.build.plain_text",
    "corrpo.measurement.tokens": "corrpo.measurement.token_rows",
    "corrpo.memory": "corrpo.models.memory",
    "corrpo.merging": "corrpo.training.merging",
    "corrpo.models.load_model": "corrpo.models.loading",
    "corrpo.monitor.generations": "corrpo.monitor.generation_file",
    "corrpo.monitor.running": "corrpo.monitor.running_rho",
    "corrpo.monitor.signals": "corrpo.monitor.token_meter",
    "corrpo.monitor.text": "corrpo.monitor.incremental_text",
    "corrpo.monitor.writing": "corrpo.monitor.response_writers",
    "corrpo.progress": "corrpo.jobs.progress_bar",
    "corrpo.projections": "corrpo.strength.projections",
    "corrpo.report.benchmarks": "corrpo.report.accuracy_table",
    "corrpo.report.excerpts": "corrpo.report.notable_tokens",
    "corrpo.report.html": "corrpo.report.pages.fingerprint, corrpo.report.pages.comparison",
    "corrpo.report.layers": "corrpo.report.layer_correlations",
    "corrpo.report.notes": "corrpo.report.explanations",
    "corrpo.report.page": "corrpo.report.pages.report",
    "corrpo.report.plates": "corrpo.report.figures",
    "corrpo.report.render": "corrpo.report.html_templates",
    "corrpo.report.run_plates": "corrpo.report.run_groups, corrpo.report.run_series",
    "corrpo.report.tables": "corrpo.report.terminal_tables",
    "corrpo.report.text": "corrpo.report.formatting",
    "corrpo.rewards.accuracy": "corrpo.answers.verdict, corrpo.rewards.task_rewards.math_answer",
    "corrpo.rewards.answers": "corrpo.answers.reading",
    "corrpo.rewards.correlation": "corrpo.rewards.rollout_correlation",
    "corrpo.rewards.format": "corrpo.rewards.task_rewards.think_answer_format",
    "corrpo.rewards.tasks": "corrpo.rewards.task_rewards",
    "corrpo.rewards.verifier": "corrpo.answers.verifier",
    "corrpo.rewards.verifier_worker": "corrpo.answers.verifier_worker",
    "corrpo.sharding": "corrpo.models.sharding",
    "corrpo.spectra": "corrpo.strength.norms",
    "corrpo.statistics.association": "corrpo.statistics.checkpoint_association",
    "corrpo.statistics.compare": "corrpo.statistics.difference_estimate",
    "corrpo.statistics.correlate": "corrpo.statistics.correlation_estimate",
    "corrpo.statistics.correlation": "corrpo.statistics.coefficients",
    "corrpo.statistics.estimates": "corrpo.statistics.accuracy_estimate",
    "corrpo.statistics.results": "corrpo.statistics.correlation_records",
    "corrpo.statistics.rows": "corrpo.statistics.row_coefficients",
    "corrpo.statistics.series": "corrpo.statistics.token_series",
    "corrpo.statistics.weighted": "corrpo.statistics.weighted_coefficients",
    "corrpo.store": "corrpo.jobs.files, corrpo.jobs.run_folder",
    "corrpo.team": "corrpo.jobs.workers",
    "corrpo.training.checkpoints": "corrpo.training.resuming",
    "corrpo.training.demo": "corrpo.cli.demos.training",
    "corrpo.training.generated": "corrpo.training.data_from_generations",
    "corrpo.training.order": "corrpo.training.resumed_data_order",
    "corrpo.training.progress": "corrpo.training.training_progress",
    "corrpo.training.quiet": "corrpo.training.silence_libraries",
    "corrpo.training.rollouts": "corrpo.rewards.rollouts",
    "corrpo.training.values": "corrpo.training.yaml_values",
    "corrpo.viewer.data": "corrpo.viewer.fingerprint_view",
    "corrpo.viewer.tables": "corrpo.viewer.fingerprint_files",
    "corrpo.vocabulary": "corrpo.models.token_limits",
}
"""Where the modules of version 0.2 are now."""


class _MovedModules:
    """The last finder of modules: tells the new name of one that was moved."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name in _MOVED:  # without its name as an attribute, or `from package import name` would hide this
            raise ModuleNotFoundError(f"{name} of version 0.2 is now in {_MOVED[name]}")


sys.meta_path.append(_MovedModules)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("corrpo")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    moved = _MOVED.get(f"corrpo.{name}")
    hint = "" if moved is None else f"; what it held in version 0.2 is now in {moved}"
    raise AttributeError(f"module 'corrpo' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
