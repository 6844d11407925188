"""What shows that a finished checkpoint is to be loaded again: its files, and those of an adapter's base."""

import json
import os

import pytest

from corrpo.models.checkpoints import Checkpoint
from corrpo.models.load_options import LoadOptions
from corrpo.models.source_stamp import source_stamp
from measurement.runs import lab_copy, placeholder


def stamp(folder, **options):
    return source_stamp(Checkpoint("sft", 1, 1, str(folder)), LoadOptions(**options))


@pytest.mark.parametrize(
    "name",
    ["config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"],
)
def test_every_file_that_decides_what_a_model_writes_is_in_the_stamp(tmp_path, name):
    folder = lab_copy(tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    before = stamp(folder)
    (folder / "README.md").write_text("a card")
    assert stamp(folder) == before
    os.utime(folder / name, ns=(1, 1))
    assert stamp(folder) != before


def test_an_adapter_has_the_files_of_its_base_in_its_stamp(tmp_path):
    base, adapter = placeholder(tmp_path / "base"), tmp_path / "adapter"
    adapter.mkdir()
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps({"base_model_name_or_path": str(base)}))
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    before = stamp(adapter)
    assert before != stamp(adapter, base="lab:qwen2/base")
    os.utime(base / "model.safetensors", ns=(1, 1))
    assert stamp(adapter) != before
    config.write_text("{")
    assert stamp(adapter) is None
