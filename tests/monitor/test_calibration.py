"""The promised false-alarm rate holds in simulation, and a calibration is refused where it does not apply."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from corrpo.errors import BadInputError
from corrpo.jobs.files import read_json
from corrpo.monitor.calibration import Calibration, Labelled, calibrate, threshold_rank

MODEL = {"name": "tiny", "digest": "a" * 64}
SETTINGS = {"window": 128}


def drawn(rng, prompts, per_prompt=1, low_shift=0.5, share=0.3):
    """Generations of prompts that differ, with a wide spread between prompts; low ones have a higher rho."""
    made = []
    for prompt in range(prompts):
        level = 0.2 * rng.normal()
        for _ in range(per_prompt):
            low = bool(rng.random() < share)
            rho = float(np.tanh(level + 0.1 * rng.normal() + low_shift * low))
            made.append(Labelled(str(prompt), low, rho, rho + 0.1, rho - 0.1))
    return made


def calibrated(generations, **options):
    return calibrate(generations, model=MODEL, settings=SETTINGS, **options)


@pytest.mark.parametrize("side", ["high", "low", "learned"])
@pytest.mark.parametrize("per_prompt", [1, 4])
def test_false_alarms_keep_to_the_rate_on_average(side, per_prompt):
    rng = np.random.default_rng(0)
    alarms, running, runs = [], [], 120
    for seed in range(runs):
        result = calibrated(drawn(rng, 90, per_prompt), rate=0.1, side=side, seed=seed)
        new = [one for one in drawn(rng, 40) if not one.low]
        alarms.append(np.mean([result.beyond(one.rho, result.whole) for one in new]))
        peak = "highest" if result.side == "high" else "lowest"
        running.append(np.mean([result.beyond(getattr(one, peak), result.running) for one in new]))
    for rates in (alarms, running):
        error = np.std(rates) / np.sqrt(runs)
        assert np.mean(rates) <= 0.1 + 3 * error
        assert np.mean(rates) >= 0.04


@pytest.mark.parametrize("without", [0.0, 0.6])
def test_false_alarms_keep_to_the_rate_where_hard_prompts_are_seldom_answered_well(without):
    """Easy prompts have a high rho and mostly normal generations; hard ones neither, and often no rho."""

    def made(rng, prompts, per_prompt):
        generations = []
        for prompt in range(prompts):
            easy = bool(rng.random() < 0.5)
            for _ in range(per_prompt):
                low = bool(rng.random() > (0.9 if easy else 0.1))
                rho = 0.4 * easy + 0.1 * rng.normal()
                rho = None if not easy and rng.random() < without else rho
                generations.append(Labelled(str(prompt), low, rho, rho, rho))
        return generations

    rng = np.random.default_rng(7)
    rates = []
    for seed in range(150):
        result = calibrated(made(rng, 150, 8), rate=0.1, side="high", seed=seed)
        new = [one for one in made(rng, 400, 1) if not one.low]
        rates.append(np.mean([bool(result.beyond(one.rho, result.whole)) for one in new]))
    assert np.mean(rates) <= 0.1 + 3 * np.std(rates) / np.sqrt(len(rates))


def test_generations_of_low_reasoning_without_rho_count_as_not_detected():
    rng = np.random.default_rng(8)
    some = drawn(rng, 400, low_shift=3.0)
    silent = [Labelled(f"silent {n}", True, None, None, None) for n in range(sum(one.low for one in some))]
    facts = calibrated(some + silent, side="high").facts
    assert facts["low_without_rho"] == len(silent)
    assert facts["detected"]["whole"][0] == pytest.approx(0.5, abs=0.02)


def test_with_confidence_nine_calibrations_of_ten_keep_the_rate():
    rng = np.random.default_rng(1)
    kept = []
    for _ in range(300):
        normal = rng.normal(size=100)
        threshold = np.sort(normal)[threshold_rank(100, 0.1, 0.9) - 1]
        kept.append(norm.sf(threshold) <= 0.1)
    assert np.mean(kept) >= 0.85


def test_the_side_is_learned_from_the_labels():
    rng = np.random.default_rng(2)
    assert calibrated(drawn(rng, 150, low_shift=0.8)).side == "high"
    assert calibrated(drawn(rng, 150, low_shift=-0.8)).side == "low"


def test_a_score_that_knows_nothing_detects_at_the_rate_and_one_that_knows_detects_more():
    rng = np.random.default_rng(3)
    nothing = calibrated(drawn(rng, 2000, low_shift=0.0), side="high").facts
    much = calibrated(drawn(rng, 2000, low_shift=1.5), side="high").facts
    assert nothing["detected"]["whole"][0] < 0.1
    assert abs(nothing["auc"] - 0.5) < 0.05
    assert much["detected"]["whole"][0] > 0.9


def test_too_few_generations_for_the_rate_are_refused_with_the_number_needed():
    few = drawn(np.random.default_rng(4), 10, share=0.0)
    with pytest.raises(BadInputError, match=r"needs 19 prompts .* there are 10"):
        calibrated(few, side="high", rate=0.05)
    with pytest.raises(BadInputError, match="needs 45 prompts"):
        calibrated(few, side="high", rate=0.05, confidence=0.9)
    with pytest.raises(BadInputError, match="labels of one kind"):
        calibrated(few)
    assert threshold_rank(19, 0.05) == 19
    assert threshold_rank(45, 0.05, 0.9) == 45


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rate": 0.0}, "rate=0"), ({"confidence": 1.0}, "confidence=1"), ({"side": "up"}, "side 'up'")],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(BadInputError, match=message):
        calibrated([], **options)


def test_generations_without_rho_are_left_out_and_counted():
    some = drawn(np.random.default_rng(5), 60, share=0.2)
    none = [Labelled("x", False, None, None, None)] * 7
    result, same = calibrated(some + none, side="high"), calibrated(some, side="high")
    assert result.facts["without_rho"] == 7
    assert result.facts["normal_prompts"] == same.facts["normal_prompts"]
    assert result.whole == same.whole


def test_a_calibration_comes_back_from_its_file_and_is_refused_elsewhere(tmp_path):
    result = calibrated(drawn(np.random.default_rng(6), 100))
    result.save(tmp_path / "cal.json")
    again = Calibration.load(tmp_path / "cal.json")
    assert again == result
    again.check("a" * 64, SETTINGS)
    with pytest.raises(BadInputError, match="calibrate this one"):
        again.check("b" * 64, SETTINGS)
    with pytest.raises(BadInputError, match=r"window=64 \(calibrated 128\)"):
        again.check("a" * 64, {"window": 64})
    record = read_json(tmp_path / "cal.json")
    for broken in ({"side": "up"}, {"whole": float("nan")}, {"model": {}}, {"schema_version": 9}):
        (tmp_path / "bad.json").write_text(json.dumps(record | broken))
        with pytest.raises(BadInputError, match=r"bad\.json"):
            Calibration.load(tmp_path / "bad.json")


def test_one_long_prompt_does_not_make_all_of_them_long():
    """numpy would keep each text in as much room as the longest takes; the order is that of its draws."""
    some = drawn(np.random.default_rng(0), 200, per_prompt=2)
    expected = calibrated(some)
    longer = [replace(one, prompt=one.prompt + "9" * 100_000 * (one.prompt == "99")) for one in some]
    tracemalloc.start()
    assert calibrated(longer) == expected
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
