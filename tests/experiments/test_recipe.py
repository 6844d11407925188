"""Recipes of experiments: what is read, and what mistakes give."""

import pytest
import yaml

from commands import ROOT
from corrpo.errors import BadInputError
from corrpo.experiments.arms import PRESETS
from corrpo.experiments.recipe_reader import read_experiment

SMALL = ROOT / "recipes" / "lab" / "experiment_small.yaml"
TEXT = SMALL.read_text()


def read(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return read_experiment(path)


def test_every_preset_is_a_setting_of_its_stage(tmp_path):
    content = yaml.safe_load(TEXT)
    content["arms"] = dict.fromkeys(PRESETS) | {"weak": {"preset": "corrpo", "inversion_weight": 0.1}}
    recipe = read(tmp_path, yaml.safe_dump(content, sort_keys=False))
    arms = {arm.name: arm for arm in recipe.arms}
    assert list(arms) == [*PRESETS, "weak"]
    assert arms["weak"].settings["inversion_weight"] == 0.1
    assert arms["verifier-free"].settings["rewards"] == []
    assert arms["shuffle"].settings["inversion_control"] == "shuffle"
    assert arms["gspo"].settings["importance_sampling_level"] == "sequence"
    assert arms["rloo"].stage == "rloo"
    assert all(arm.settings["max_steps"] == 2 for arm in recipe.arms)


def test_the_recipe_of_the_lab_has_the_arms_of_the_claim():
    recipe = read_experiment(ROOT / "recipes" / "lab" / "experiment.yaml")
    assert {recipe.analysis.treatment, *recipe.analysis.compared} <= {arm.name for arm in recipe.arms}
    assert (len(recipe.seeds), len(recipe.models)) == (5, 2)


@pytest.mark.parametrize("name", ["sizes", "reworded_sums", "sorting"])
def test_the_other_experiments_of_the_study_differ_in_models_task_and_arms_alone(name):
    main, other = (
        read_experiment(ROOT / "recipes" / "lab" / f"experiment{end}.yaml").as_dict()
        for end in ("", f"_{name}")
    )
    task = other["evaluation"].pop("suite")
    assert main["evaluation"].pop("suite") == "lab:sums"
    for part in ("seeds", "evaluation", "fingerprint"):
        assert other[part] == main[part]
    assert list(other["arms"]) == ["grpo", "corrpo", "shuffle"]
    for arm, described in other["arms"].items():
        assert described["settings"].pop("dataset") == task
        assert main["arms"][arm]["settings"].pop("dataset") == "lab:sums"
        assert described == main["arms"][arm]
    assert other["analysis"]["controls"] == ["shuffle"]
    for setting in ("treatment", "baseline", "k", "smallest_effect", "alpha", "power", "rules"):
        assert other["analysis"][setting] == main["analysis"][setting]


def test_the_digest_goes_by_content_alone(tmp_path):
    digest = read_experiment(SMALL).digest
    assert read(tmp_path, "# a remark\n" + TEXT).digest == digest
    assert read(tmp_path, TEXT.replace("seeds: [0, 1]", "seeds: [0, 2]")).digest != digest


def line_of(text, what):
    return next(number for number, line in enumerate(text.splitlines(), 1) if what in line)


@pytest.mark.parametrize(
    ("old", "new", "place", "expected"),
    [
        ("seeds:", "seed:", "seed:", "did you mean seeds"),
        ("lab:qwen2/reasoning", "mine.gguf", "mine.gguf", "as `corrpo convert` writes one of a .gguf file"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "seeds:", "each once"),
        ("max_steps: 2", "max_stesp: 2", "max_stesp", "did you mean max_steps"),
        ("max_steps: 2", "max_steps: 2\n  seed: 1", "  seed: 1", "is set by the experiment"),
        ("max_steps: 2", "max_steps: 2\n  max_steps: 3", "max_steps: 3", "stands there twice"),
        ("  corrpo:", "  corpro:", "corpro", "did you mean corrpo"),
        ("  corrpo:", "  corrpo: {inversion_gate: some}", "inversion_gate", "inversion_gate='some'"),
        ("  corrpo:", "  corrpo: {inversion_weigth: 1}", "inversion_weigth", "did you mean inversion_weight"),
        ("  corrpo:", "  ../up: {preset: corrpo}", "../up", "letters, digits"),
        ("problems: 12", "problems: twelve", "problems: twelve", "'twelve' is not a whole number"),
        ("estimator: own", "estimator: owned", "owned", "owned"),
        ("learning_rate: 1.0e-3", "learning_rate: .nan", "learning_rate", "nan is not a finite number"),
        ("learning_rate: 1.0e-3", "learning_rate: -1", "  grpo:", "Invalid learning rate: -1"),
        (
            "rewards: [exact, format]",
            "rewards: [evil]",
            "  grpo:",
            "'evil' is unknown; expected one of exact",
        ),
        ("max_steps: 2", "max_steps: 2\n  report_to: zork", "  grpo:", "'zork' is unknown; expected one of"),
        ("max_steps: 2", "max_steps: 2\n  max_grad_norm: x", "max_grad_norm", "'x' is not a finite number"),
        ("seeds: [0, 1]", "seeds: [0, 9223372036854775808]", "seeds:", "from 0 to 2147483647"),
        ("controls: []", "controls: [shuffle]", "controls", "compares shuffle"),
        ("controls: []", "controls: [], k: [4]", "problems: 12", "no pass@4"),
    ],
)
def test_a_mistake_is_reported_with_its_line(tmp_path, old, new, place, expected):
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    with pytest.raises(BadInputError, match=expected) as raised:
        read(tmp_path, text)
    assert f"recipe.yaml line {line_of(text, place)}: " in str(raised.value)


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(BadInputError, match="cannot read the recipe"):
        read_experiment(tmp_path / "none.yaml")
    with pytest.raises(BadInputError, match="not valid YAML"):
        read(tmp_path, "models: [")
    with pytest.raises(BadInputError, match="holds no settings"):
        read(tmp_path, "- a\n")
    with pytest.raises(BadInputError, match="models, arms, training, evaluation must be given"):
        read(tmp_path, "seeds: [0]\n")
