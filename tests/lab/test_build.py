"""A micro build: deterministic, resumable, and clear about folders it cannot use."""

import pytest
import torch

import corrpo
from corrpo.cli.lab import LabBuild
from corrpo.errors import BadInputError, CorrpoError, OutputFolderError
from corrpo.lab import build as lab_build
from corrpo.lab.build import Recipe, Stage, build

pytest.importorskip("accelerate")

MICRO = Recipe(
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

        original = lab_build.collate
        monkeypatch.setattr(lab_build, "collate", collate)

    yield arm
    monkeypatch.undo()


def test_a_build_holds_checkpoints_samples_record_and_nothing_else(built):
    assert {path.name for path in built.iterdir()} == {"checkpoints", "samples", "build.json"}
    assert set(weights(built)) == {"base", "safety", "reasoning"}
    assert len(set(weights(built).values())) == 3


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
    original = lab_build._train
    monkeypatch.setattr(lab_build, "_train", lambda *args: trained.append(args[2]) or original(*args))
    said = []
    run(folder, say=said.append)
    assert trained == ["reasoning"]
    assert said[:2] == ["qwen2/base: finished before", "qwen2/safety: finished before"]
    assert weights(folder) == weights(built)
    assert not (folder / ".work").exists()


def test_other_settings_another_folder_or_an_unknown_family_are_refused(built, tmp_path):
    before = weights(built)
    with pytest.raises(OutputFolderError, match="another seed"):
        run(built, seed=1)
    with pytest.raises(OutputFolderError, match="another recipe"):
        run(built, recipe=Recipe())
    with pytest.raises(BadInputError, match="family 'gpt'"):
        run(built, families=["gpt"])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputFolderError, match="not empty"):
        run(tmp_path)
    assert weights(built) == before
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_accelerate_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(lab_build, "find_spec", lambda name: None)
    with pytest.raises(CorrpoError, match=r"pip install corrpo\[train\]"):
        run(tmp_path)


def test_the_command_reads_its_options():
    import tyro

    settings = tyro.cli(LabBuild, args=["--output", "x", "--seed", "3", "--family", "llama"])
    assert (str(settings.output), settings.seed, settings.family) == ("x", 3, ("llama",))


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
