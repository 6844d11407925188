"""Calls of public functions with values of other types, outside the checks that tests install."""

import re

import numpy as np
import pytest
import torch

import corrpo
from corrpo.errors import BadInputError
from corrpo.measurement.options import MeasureOptions
from corrpo.samples import as_samples

SAMPLES = [{"prompt": "17 + 25", "response": "is 42"}]


def measure(**setting):
    return corrpo.measure(torch.nn.Linear(1, 1), str, SAMPLES, **setting)


CALLS = [
    (lambda: measure(max_tokens="5"), "max_tokens='5': expected a whole number or nothing, not str"),
    (lambda: measure(temperature="hot"), "temperature='hot': expected a finite number"),
    (lambda: measure(seed=1.5), "seed=1.5: expected a whole number, not float"),
    (lambda: measure(untrained=1), "untrained=1: expected true or false"),
    (lambda: measure(output=5), "output=5: expected a path"),
    (lambda: measure(layers=3), "layers=3: expected a list"),
    (lambda: measure(layers=["a"]), "layers=['a']: expected a list"),
    (lambda: measure(estimator=["exact"]), "estimator ['exact'] is unknown"),
    (lambda: corrpo.load_model(5), "model 5: expected a name or a folder, not a int"),
    (lambda: corrpo.measure("lab:qwen2/base", str, SAMPLES), "corrpo.load_model gives one"),
    (lambda: corrpo.measure(torch.nn.Linear(1, 1), None, SAMPLES), "tokenizer=None: expected"),
    (lambda: corrpo.logit_gradient_norms("m", torch.tensor([1, 2]), [1]), "model='m': expected"),
    (lambda: corrpo.token_entropy([1.0, 2.0]), "expected a tensor [..., vocab]"),
    (lambda: corrpo.token_entropy(torch.tensor(1.0)), "expected a tensor [..., vocab]"),
    (lambda: corrpo.is_correct(None, "4"), "response=None: expected text"),
    (lambda: corrpo.Fingerprint.load(5), "expected the path of a folder"),
    (lambda: as_samples(5), "expected a path, or a list"),
    (lambda: as_samples(None), "expected a path, or a list"),
    (lambda: as_samples({"prompt": "one"}), "expected a path, or a list"),
]


def main():
    for call, told in CALLS:
        with pytest.raises(BadInputError, match=re.escape(told)):
            call()
    taken = MeasureOptions(max_tokens=np.int64(3), temperature=1)
    assert (taken.max_tokens, taken.temperature) == (3, 1)
    print("all are told")


if __name__ == "__main__":
    main()
