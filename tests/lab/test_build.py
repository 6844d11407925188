"""A micro build: deterministic, resumable, and clear about folders it cannot use."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import corrpo
from corrpo.cli.lab import LabBuild
from corrpo.errors import BadInputError, CorrpoError, OutputFolderError
from corrpo.lab import checkpoint
from corrpo.lab.build import build as build_module
from corrpo.lab.build import train_checkpoint as train_module
from corrpo.lab.build.architectures import new_model
from corrpo.lab.build.build import build
from corrpo.lab.build.settings import LabRecipe, Stage, Variant
from corrpo.lab.problems import held_out_problems
from corrpo.lab.tasks.sorting import SORTING

pytest.importorskip("accelerate")

MICRO = LabRecipe(
    base=Stage(4, 1e-3),
    safety=Stage(2, 1e-3),
    reasoning=Stage(4, 1e-3, "constant_with_warmup", stop_at=0.5),
    batch_size=2,
    check_every=2,
    validation=2,
)


def run(folder, **options):
    return build(folder, **{"families": ["qwen2"], "recipe": MICRO, "say": lambda _: None, **options})


def weights(folder):
    return {path.parent.name: path.read_bytes() for path in folder.rglob("checkpoints/*/*/model.safetensors")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "new"
    run(folder)
    return folder


@pytest.fixture
def interrupt_at_batch(monkeypatch):
    """Make the n-th batch of a build raise KeyboardInterrupt."""

    def arm(number):
        seen = []

        def collate(rows, pad_id):
            seen.append(rows)
            if len(seen) == number:
                raise KeyboardInterrupt
            return original(rows, pad_id)

        original = train_module.collate
        monkeypatch.setattr(train_module, "collate", collate)

    yield arm
    monkeypatch.undo()


def test_a_build_holds_checkpoints_samples_record_and_nothing_else(built):
    assert {path.name for path in built.iterdir()} == {"checkpoints", "samples", "build.json"}
    assert set(weights(built)) == {"base", "safety", "reasoning"}
    assert len(set(weights(built).values())) == 3


@pytest.mark.slow
def test_an_interrupted_build_goes_on_and_ends_in_the_same_weights(
    built, tmp_path, monkeypatch, interrupt_at_batch
):
    folder = tmp_path / "again"
    interrupt_at_batch(4 + 2 + 4)
    with pytest.raises(KeyboardInterrupt):
        run(folder)
    assert set(weights(folder)) == {"base", "safety"}
    assert (folder / ".work/qwen2-reasoning/checkpoint-2").is_dir()
    monkeypatch.undo()

    trained = []
    original = build_module.train_checkpoint
    monkeypatch.setattr(
        build_module,
        "train_checkpoint",
        lambda *args, **rest: trained.append(args[2]) or original(*args, **rest),
    )
    messages = []
    run(folder, say=messages.append)
    assert trained == ["reasoning"]
    assert messages[:2] == ["qwen2/base: finished before", "qwen2/safety: finished before"]
    assert weights(folder) == weights(built)
    assert not (folder / ".work").exists()


def test_other_settings_another_folder_or_an_unknown_family_are_refused(built, tmp_path):
    before = weights(built)
    with pytest.raises(OutputFolderError, match="another seed"):
        run(built, seed=1)
    with pytest.raises(OutputFolderError, match="another recipe"):
        run(built, recipe=LabRecipe())
    with pytest.raises(OutputFolderError, match="another variant"):
        run(built, variant=Variant(width=48))
    with pytest.raises(BadInputError, match="family 'gpt'"):
        run(built, families=["gpt"])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputFolderError, match="not empty"):
        run(tmp_path)
    assert weights(built) == before
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_accelerate_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("corrpo.errors.find_spec", lambda name: None)
    with pytest.raises(CorrpoError, match=r"pip install -c constraints.txt '\.\[train\]'"):
        run(tmp_path)


def test_the_command_reads_its_options():
    import tyro

    settings = tyro.cli(LabBuild, args=["--output", "x", "--seed", "3", "--family", "llama"])
    assert (str(settings.output), settings.seed, settings.family) == ("x", 3, ("llama",))
    assert (settings.kind, settings.width, settings.task) == (("base", "safety", "reasoning"), 80, "sums")


@pytest.mark.slow
def test_a_family_without_attention_is_built_with_the_kinds_asked_for_and_measured(tmp_path):
    folders = run(tmp_path / "lab", families=["mamba2"], kinds=["reasoning"])
    assert [folder.name for folder in folders] == ["base", "reasoning"]
    assert set(weights(tmp_path / "lab")) == {"base", "reasoning"}
    model, tokenizer = corrpo.load_model(str(folders[-1]))
    ids = torch.tensor(tokenizer.encode("<user>What is 1 + 1?<assistant>"))
    norms = corrpo.logit_gradient_norms(model, ids, [3, 5], projections=("in_proj", "out_proj"))
    assert norms.shape == (2, 4, 2)
    assert (norms > 0).all()
    with pytest.raises(BadInputError, match="kind 'chat'"):
        run(tmp_path / "lab", families=["mamba2"], kinds=["chat"])


def test_a_record_from_before_there_were_variants_is_gone_on_with(built, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(built, folder)
    record = json.loads((folder / "build.json").read_text())
    assert record.pop("variant") == {"width": 80, "task": "sums", "shipped_base": False}
    (folder / "build.json").write_text(json.dumps(record))
    run(folder)
    assert weights(folder) == weights(built)


@pytest.mark.parametrize(
    ("family", "width", "count"),
    [("qwen2", 48, 110_688), ("llama", 48, 118_800), ("qwen2", 128, 762_112), ("llama", 128, 800_128)],
)
def test_the_parameters_of_a_width(family, width, count):
    assert new_model(family, 105, seed=0, width=width).num_parameters() == count


@pytest.mark.slow
def test_another_width_and_fewer_kinds(tmp_path):
    folders = run(tmp_path / "narrow", kinds=["reasoning"], variant=Variant(width=48))
    assert [folder.name for folder in folders] == ["base", "reasoning"]
    config = json.loads((folders[1] / "config.json").read_text())
    assert (config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]) == (48, 134, 4)
    record = json.loads((tmp_path / "narrow" / "build.json").read_text())
    assert record["variant"]["width"] == 48
    assert 0 <= record["checkpoints"]["qwen2/reasoning"]["validation_solved"] <= 1
    assert "validation_solved" not in record["checkpoints"]["qwen2/base"]
    with pytest.raises(BadInputError, match="kind 'chat'"):
        run(tmp_path / "narrow", kinds=["chat"], variant=Variant(width=48))


@pytest.mark.slow
def test_another_task_is_learned_from_the_shipped_base(tmp_path):
    (folder,) = run(
        tmp_path / "sorting", kinds=["reasoning"], variant=Variant(task="sorting", shipped_base=True)
    )
    assert folder == tmp_path / "sorting" / "checkpoints" / "qwen2" / "reasoning"
    assert set(weights(tmp_path / "sorting")) == {"reasoning"}
    first, shipped = (load_file(path / "model.safetensors") for path in (folder, checkpoint("qwen2", "base")))
    moved = [(first[name] - shipped[name]).abs().max().item() for name in shipped]
    assert 0 < max(moved) < 0.02  # four steps of 1e-3 at most, from there
    lines = (tmp_path / "sorting" / "samples" / "reasoning.jsonl").read_text().splitlines()
    asked = [json.loads(line)["prompt"][0]["content"] for line in lines]
    assert asked == [problem.question for problem in held_out_problems(64, SORTING)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 84}, "width=84: expected a multiple of 8"),
        ({"width": 0}, "width=0"),
        ({"task": "adding"}, "task 'adding': expected lab:sums"),
        ({"width": 48, "shipped_base": True}, "the shipped base is 80 wide"),
    ],
)
def test_variants_that_there_are_not(settings, message):
    with pytest.raises(BadInputError, match=message):
        Variant(**settings)
