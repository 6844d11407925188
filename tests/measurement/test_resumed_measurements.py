"""A measurement that was stopped or damaged goes on, and one of other settings is refused."""

import pytest
import torch

from corrpo import Fingerprint, measure
from corrpo.errors import BadInputError, NonFiniteError, OutputFolderError
from measurement.quick import QUICK, SAMPLES


class Stop(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_stopped_measurement_goes_on_and_measures_nothing_twice(
    lab_model, lab_tokenizer, tmp_path, monkeypatch, stop_after
):
    from corrpo.measurement import measure_tasks as module

    full = measure(lab_model, lab_tokenizer, SAMPLES, **QUICK)
    seen = []
    real = module.measure_response

    def stopping(*arguments):
        if len(seen) == stop_after and "stopped" not in seen:
            seen.append("stopped")
            raise Stop
        seen.append(arguments[4])
        return real(*arguments)

    monkeypatch.setattr(module, "measure_response", stopping)
    with pytest.raises(Stop):
        measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "out", **QUICK)
    with pytest.raises(BadInputError, match="is unfinished"):
        Fingerprint.load(tmp_path / "out")
    resumed = measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "out", **QUICK)
    assert [name for name in seen if name != "stopped"] == ["dog", "cat", "sum"]
    assert resumed.tokens.equals(full.tokens)
    assert resumed.statistics == full.statistics
    seen.clear()
    seen.append("stopped")
    finished = measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "out", **QUICK)
    assert seen == ["stopped"]
    assert finished.statistics == full.statistics
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == [
        "fingerprint.json",
        "responses.jsonl",
        "settings.json",
        "tokens.parquet",
    ]


def test_a_finished_measurement_that_was_damaged_is_made_again(lab_model, lab_tokenizer, tmp_path, caplog):
    full = measure(lab_model, lab_tokenizer, SAMPLES[:1], output=tmp_path, **QUICK)
    path = tmp_path / "tokens.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"tokens\.parquet was changed since it was written"):
        Fingerprint.load(tmp_path)
    again = measure(lab_model, lab_tokenizer, SAMPLES[:1], output=tmp_path, **QUICK)
    assert again.tokens.equals(full.tokens)
    (record,) = caplog.records
    assert record.getMessage().endswith("its checksum does not match; it is made again")


def test_a_folder_of_other_settings_or_other_files_is_refused(lab_model, lab_tokenizer, tmp_path):
    measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "out", **QUICK)
    with pytest.raises(OutputFolderError, match=r"settings.norm was 'nuclear', now 'frobenius'"):
        measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "out", norm="frobenius", **QUICK)
    with pytest.raises(OutputFolderError, match=r"samples\.digest was"):
        measure(lab_model, lab_tokenizer, SAMPLES[:2], output=tmp_path / "out", **QUICK)
    template = lab_tokenizer.chat_template
    chat = {**QUICK, "template": "chat"}
    measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "chat", **chat)
    lab_tokenizer.chat_template = "Today. " + template
    with pytest.raises(OutputFolderError, match="prompts_digest was"):
        measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "chat", **chat)
    with torch.no_grad():
        lab_model.model.layers[0].mlp.up_proj.weight.mul_(1.01)
    with pytest.raises(OutputFolderError, match=r"model\.digest was"):
        measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "out", **QUICK)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(OutputFolderError, match=r"not of this run \(thesis\.tex\)"):
        measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "mine", **QUICK)


def test_nan_logits_name_the_sample_and_keep_what_is_done(lab_model, lab_tokenizer, tmp_path):
    token = lab_tokenizer("@").input_ids[0]
    with torch.no_grad():
        lab_model.get_input_embeddings().weight[token] = float("nan")
        lab_model.lm_head.weight = torch.nn.Parameter(lab_model.lm_head.weight.nan_to_num().clone())
    bad = {"id": "bad", "prompt": "a", "response": "walked @ home"}
    with pytest.raises(NonFiniteError, match="sample 'bad': the logits of response token [0-9]+ are NaN"):
        measure(lab_model, lab_tokenizer, [*SAMPLES, bad], output=tmp_path / "out", **QUICK)
    assert len(list((tmp_path / "out" / "parts").glob("tokens-*"))) == 3
