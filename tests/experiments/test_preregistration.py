"""The plan of an experiment: what it holds of models and data, and that a change of either is refused."""

import json
import shutil

import pytest
import yaml

from commands import ROOT
from corrpo.errors import OutputFolderError
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.experiments.preregistration import INPUTS, PREREGISTRATION, register, registered_plan, sha256_of
from corrpo.experiments.recipe_reader import read_experiment
from measurement.runs import lab_copy

SMALL = ROOT / "recipes" / "lab" / "experiment_small.yaml"


@pytest.fixture
def plan_of(tmp_path):
    """The plan of an experiment on a model and data that stand in files, as they are now."""
    lab_copy(tmp_path / "model")
    (tmp_path / "train.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n')
    content = yaml.safe_load(SMALL.read_text())
    content["models"] = {"mine": str(tmp_path / "model")}
    content["training"]["dataset"] = str(tmp_path / "train.jsonl")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return lambda: registered_plan(read_experiment(path), load_suite("lab:sums", problems=4))


def test_a_plan_is_registered_once_and_found_again(tmp_path, plan_of):
    folder = tmp_path / "out"
    folder.mkdir()
    digest = register(folder, plan_of())
    shutil.copytree(tmp_path / "model", tmp_path / "copy")
    shutil.rmtree(tmp_path / "model")
    (tmp_path / "copy").rename(tmp_path / "model")  # other times, the same content
    assert register(folder, plan_of()) == digest == sha256_of(plan_of())


@pytest.mark.parametrize(
    ("changed", "named"), [("train.jsonl", "inputs.data"), ("model/tokenizer.json", "inputs.models.mine was")]
)
def test_other_data_or_another_model_is_refused(tmp_path, plan_of, changed, named):
    folder = tmp_path / "out"
    folder.mkdir()
    register(folder, plan_of())
    path = tmp_path / changed
    path.write_text(path.read_text() + "\n")
    with pytest.raises(OutputFolderError, match=f"registered otherwise: {named}.*the recipe, models, data"):
        register(folder, plan_of())


def test_a_plan_of_an_earlier_version_that_lacks_them_is_gone_on_with(tmp_path, plan_of):
    folder, plan = tmp_path / "out", plan_of()
    folder.mkdir()
    del plan[INPUTS]
    digest = register(folder, plan)
    assert register(folder, plan_of()) == digest
    assert json.loads((folder / PREREGISTRATION).read_text())["sha256"] == digest
