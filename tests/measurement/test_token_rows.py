"""The token rows of a response: their columns, and values that can be computed by hand."""

import pytest
import torch

from corrpo.measurement.fingerprint_format import TOKEN_COLUMNS, schema
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.token_rows import measure_response


def test_rows_have_the_listed_columns_and_follow_from_the_logits(lab_model, lab_tokenizer):
    prompt, response = (lab_tokenizer(text).input_ids for text in ("The dog ", "walked home."))
    options = MeasureOptions(estimator="own", max_tokens=4)
    rows = measure_response(lab_model, lab_tokenizer, prompt, response, "dog", options)
    assert dict(rows.schema) == schema(TOKEN_COLUMNS)
    assert rows["token_id"].to_list() == response
    assert "".join(rows["token"]) == "walked home."
    assert rows["strength"].count() == 4
    with torch.no_grad():
        logits = lab_model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
    target = logits.gather(-1, torch.tensor(response)[:, None])
    logprob = logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None])
    assert rows["target_logit"].to_list() == pytest.approx(target[:, 0].tolist(), rel=1e-5)
    assert rows["logprob"].to_list() == pytest.approx(logprob[:, 0].tolist(), rel=1e-4, abs=1e-6)
    assert rows["rank"].to_list() == ((logits > target).sum(-1) + 1).tolist()
    p = logits.softmax(-1)
    squared = 1 - 2 * p.gather(-1, torch.tensor(response)[:, None])[:, 0] + p.square().sum(-1)
    assert rows["logits_gradient"].to_list() == pytest.approx(squared.tolist(), abs=1e-6)
    norms = rows.drop_nulls("strength")["norms"].to_list()
    means = [torch.tensor(token_norms).double().mean().item() for token_norms in norms]
    assert rows["strength"].drop_nulls().to_list() == pytest.approx(means)
