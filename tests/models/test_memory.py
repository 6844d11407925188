"""How much memory is free, on a machine and in a container; and what is said where it runs out."""

import re

import psutil
import pytest

from corrpo.errors import OutOfMemoryError, first_line
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.token_rows import measure_response
from corrpo.models import memory
from corrpo.models.generation.backends.transformers import generate
from corrpo.models.memory import free_memory
from memory_errors import MEMORY_ERRORS


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    machine = psutil.virtual_memory().available
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() == pytest.approx(machine, rel=0.2)
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4000\n")
    (tmp_path / "memory.stat").write_text("anon 3000\ninactive_file 700\n")
    assert free_memory() == 1700


@pytest.mark.parametrize("error", MEMORY_ERRORS)
def test_what_was_too_large_and_how_to_make_it_smaller(error, lab_model, lab_tokenizer, monkeypatch):
    def run_out(*_, **__):
        raise error

    monkeypatch.setattr(lab_model, "generate", run_out)
    monkeypatch.setattr("corrpo.measurement.token_rows.logit_gradient_norms", run_out)
    told = re.escape(first_line(error))
    with pytest.raises(OutOfMemoryError, match=f"generating 2 responses at once: {told}; lower --batch-size"):
        generate(lab_model, lab_tokenizer, [[1], [2]], max_new_tokens=3)
    with pytest.raises(OutOfMemoryError, match=f"sample 'dog' of 5 tokens, by 'own': {told}; .*fewer layers"):
        measure_response(lab_model, lab_tokenizer, [1, 2], [3, 4, 5], "dog", MeasureOptions(estimator="own"))
