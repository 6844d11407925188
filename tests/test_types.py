"""What a type checker says of the front door: every keyword with type and default, and wrong ones refused."""

import json
import subprocess
import sys

import pytest

from commands import ROOT

CALLS = """\
import corrpo

reveal_type(corrpo.measure)
reveal_type(corrpo.load_model)
reveal_type(corrpo.logit_gradient_norms)
corrpo.measure(None, None, "samples.jsonl", max_tokens=64, output="out")
corrpo.measure(None, None, "samples.jsonl", max_tokens="64")
corrpo.measure(None, None, "samples.jsonl", max_token=64)
corrpo.load_model("gpt2", dtype="float23")
"""


@pytest.mark.slow
def test_a_type_checker_knows_every_keyword(tmp_path):
    (tmp_path / "calls.py").write_text(CALLS)
    settings = {"include": ["calls.py"], "extraPaths": [str(ROOT / "src")]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        tmp_path,
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    reports = {
        report["range"]["start"]["line"] + 1: report["message"]
        for report in json.loads(ended.stdout)["generalDiagnostics"]
    }
    assert set(reports) == {3, 4, 5, 7, 8, 9}
    for keyword in (
        "norm: Literal['nuclear', 'frobenius', 'spectral', 'l1'] = \"nuclear\"",
        "max_tokens: int | None = None",
        "output: Path | str | None = None",
    ):
        assert keyword in reports[3]
    assert "quantization: Literal['none', '8bit', '4bit'] = \"none\"" in reports[4]
    assert "attention_mask: Tensor | None = None" in reports[5]
    assert '"max_tokens" of type "int | None"' in reports[7]
    assert 'No parameter named "max_token"' in reports[8]
    assert '"dtype" of type "Dtype"' in reports[9]
