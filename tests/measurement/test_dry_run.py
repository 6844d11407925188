"""What a dry run tells: the work, and time and memory as they follow from passes and a few tokens."""

import pytest
import torch
import transformers

from corrpo import MeasureOptions, measure
from corrpo.measurement import dry_run as module
from corrpo.measurement.dry_run import Reading, dry_run, measurement_cost
from corrpo.models.probing import Cost, peak_bytes_of

SAMPLES = [
    {"id": "given", "prompt": "12+34=", "response": "46 as 12+30=42"},
    {"id": "asked", "prompt": "7+8="},
]


def test_the_work_is_counted(lab_model, lab_tokenizer):
    options = MeasureOptions(max_new_tokens=20, max_tokens=5, template="plain")
    plan = dry_run(lab_model, lab_tokenizer, SAMPLES, options)
    fingerprint = measure(lab_model, lab_tokenizer, SAMPLES[:1], template="plain", max_tokens=5)
    assert (plan.samples, plan.generated) == (2, 1)
    assert plan.response_tokens == fingerprint.samples["response_tokens"] + 20
    assert plan.measured_tokens == 10
    assert plan.cost.seconds == plan.generation.seconds + plan.measurement.seconds > 0
    assert plan.weight_bytes >= 4 * sum(parameter.numel() for parameter in lab_model.parameters())


def test_an_untrained_control_takes_a_second_model(lab_model, lab_tokenizer):
    one, two = (
        dry_run(
            lab_model,
            lab_tokenizer,
            SAMPLES[:1],
            MeasureOptions(estimator="own", template="plain", untrained=untrained),
        )
        for untrained in (False, True)
    )
    assert two.weight_bytes == 2 * one.weight_bytes
    assert one.generation == two.generation == Cost(0.0, 0.0)


def test_the_model_is_left_as_it_was_found(lab_model, lab_tokenizer):
    lab_model.train()
    before = lab_model.generation_config
    dry_run(lab_model, lab_tokenizer, SAMPLES, MeasureOptions(max_new_tokens=4, template="plain"))
    assert lab_model.training
    assert lab_model.generation_config is before
    assert all(parameter.requires_grad for parameter in lab_model.parameters())


def test_time_follows_from_the_passes_of_the_estimator(lab_model, monkeypatch):
    """A second for a forward of any length and a tenth for a backward: the passes are what is counted."""

    def rates(model, prefix, options):
        return module._Rates(prefix, 1.0, 0.1, kept_bytes=100.0, backward_bytes=10.0, entropy_seconds=5.0)

    monkeypatch.setattr(module, "_measured_rates", rates)
    readings = [Reading(4, 30, range(4, 34)), Reading(2, 10, range(2, 12))]
    exact = measurement_cost(lab_model, readings, MeasureOptions())
    assert exact.seconds == pytest.approx(2 * 5.0 + 40 * 0.1 + 1.0 * _passes(lab_model, readings))
    own = measurement_cost(lab_model, readings, MeasureOptions(estimator="own"))
    assert own.seconds == pytest.approx(2 * (5.0 + 1.0 + 0.1))
    reference = measurement_cost(lab_model, readings, MeasureOptions(estimator="reference"))
    assert reference.seconds == pytest.approx(2 * (5.0 + 1.0) + 40 * 0.1)


def _passes(model, readings):
    return sum(
        len(module.passes_of(model, reading.positions, reading.length, MeasureOptions()))
        for reading in readings
    )


@pytest.mark.parametrize("estimator", ["exact", "own"])
def test_peak_memory_is_near_that_of_the_measurement(estimator):
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=2,
    )
    model = transformers.Qwen2ForCausalLM(config).eval()
    ids, positions = torch.randint(512, (301,)), range(280, 301)
    estimated = measurement_cost(model, [Reading(280, 21, positions)], MeasureOptions(estimator=estimator))
    peak = peak_bytes_of(
        lambda: module.logit_gradient_norms(model, ids, positions, estimator=estimator), torch.device("cpu")
    )
    assert estimated.peak_bytes == pytest.approx(peak, rel=0.25)


def test_the_command_prints_and_writes_nothing(tmp_path, run_corrpo):
    words = ["measure", "lab:qwen2/base", "--samples", "lab:base", "--output", str(tmp_path / "out")]
    done = run_corrpo(
        *words, "--max-tokens", "4", "--max-new-tokens", "16", "--estimator", "own", "--dry-run"
    )
    assert done.status == 0, done.err
    assert "64, of which the model answers 64" in done.out
    assert "peak memory" in done.out
    assert not (tmp_path / "out").exists()


def test_track_and_evaluate_print_what_all_checkpoints_would_take(tmp_path, run_corrpo):
    models = ["base=lab:qwen2/base", "reasoning=lab:qwen2/reasoning"]
    output = ["--output", tmp_path / "out", "--processes", "1", "--max-new-tokens", "16", "--dry-run"]
    track = run_corrpo(
        "track", *models, "--samples", "lab:base", "--max-tokens", "2", "--estimator", "own", *output
    )
    assert track.status == 0, track.err
    assert "checkpoints   2, 1 at a time" in track.out
    evaluate = run_corrpo("evaluate", *models, "--suite", "lab:sums", "--problems", "8", *output)
    assert evaluate.status == 0, evaluate.err
    assert "8 a checkpoint, of at most 128 tokens" in evaluate.out
    assert not (tmp_path / "out").exists()


def test_a_backend_outside_of_this_process_is_refused(tmp_path, run_corrpo):
    words = ["evaluate", "lab:qwen2/base", "--suite", "lab:sums", "--output", tmp_path / "out"]
    done = run_corrpo(*words, "--backend", "vllm", "--dry-run")
    assert done.status == 1
    assert "--backend transformers" in done.err
