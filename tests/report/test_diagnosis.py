"""`corrpo diagnose`: the table of regimes and families, what it joins, and what it refuses."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import polars as pl
import pytest

from commands import ROOT
from corrpo.cli.main import main
from corrpo.errors import BadInputError
from corrpo.evaluation.results import load_evaluations
from corrpo.measurement.labelled_fingerprints import Labelled
from corrpo.report.diagnosis import diagnose
from corrpo.report.pages.diagnosis import BEGIN, END, markdown, renew_page
from report.fingerprints import make_fingerprint
from report.runs import without_digest, write_evaluations

SMALL = {"samples": 6, "length": 12}
KINDS = {"base": 0.4, "sft": -0.4, "dpo": -0.5}


def labelled(folder, family="qwen2", kinds=KINDS, **options):
    shape = SMALL | options
    result = []
    for kind, slope in kinds.items():
        fingerprint = make_fingerprint(slope, model=f"{family}-{kind}", untrained=True, **shape)
        result.append(Labelled(f"{family}/{kind}", folder / family / kind, fingerprint))
    return result


@pytest.fixture
def models(tmp_path):
    """Two families measured in other projections."""
    return labelled(tmp_path) + labelled(tmp_path, "mamba2", projections=2)


@pytest.fixture
def evaluations(tmp_path):
    return load_evaluations(write_evaluations(tmp_path / "evaluated", [("sft", [10])], start="qwen2-sft"))


def test_a_row_holds_the_numbers_of_its_fingerprint_and_of_its_evaluation(models, evaluations):
    table = diagnose(models, evaluations, against=("base", "sft"), resamples=50).table()
    assert table.select("family", "regime").rows() == [
        (family, kind) for family in ("qwen2", "mamba2") for kind in KINDS
    ]
    assert table["projections"].to_list() == ["q k v o"] * 3 + ["q k"] * 3
    for row, model in zip(table.iter_rows(named=True), models, strict=True):
        measured = model.fingerprint
        assert (row["rho"], row["rho_low"], row["rho_high"]) == (
            measured.spearman.value,
            measured.spearman.low,
            measured.spearman.high,
        )
        assert row["rho_position_held"] == measured.position_partial.value
        assert row["untrained"] == measured.untrained["spearman"].value
        assert (row["n_tokens"], row["n_samples"]) == (72, 6)
        assert row["source"] == str(model.folder)
    accuracy = evaluations[0].estimates["pass@1"]
    assert table["accuracy"].to_list() == [None, accuracy.value, None, None, None, None]
    assert table.row(1, named=True)["accuracy_generations"] == 60
    assert table["suite"].to_list()[1] == "lab:sums"


def test_changes_are_paired_within_a_family_and_turn_their_sign_with_the_order(models):
    table = diagnose(models, against=("base", "sft"), resamples=50).table()
    rows = {(row["family"], row["regime"]): row for row in table.iter_rows(named=True)}
    base, sft = rows["qwen2", "base"], rows["qwen2", "sft"]
    assert base["change_from_base"] is None
    assert sft["change_from_base"] == pytest.approx(sft["rho"] - base["rho"])
    assert sft["change_from_base_low"] < sft["change_from_base"] < sft["change_from_base_high"] < 0
    assert base["change_from_sft"] == -sft["change_from_base"]
    assert base["change_from_sft_low"] == -sft["change_from_base_high"]
    assert base["change_from_sft_p"] == sft["change_from_base_p"]


def test_accuracy_is_the_average_over_generations_where_pass_at_1_was_not_asked_for(models, evaluations):
    estimates = {name: estimate for name, estimate in evaluations[0].estimates.items() if name != "pass@1"}
    of_two = replace(evaluations[0], estimates=estimates)
    expected = evaluations[0].estimates["pass@1"].value
    assert diagnose(models, [of_two], resamples=0).table()["accuracy"].to_list()[1] == expected
    without = replace(of_two, estimates={"pass@2": estimates["pass@2"]})
    with pytest.raises(BadInputError, match=r"no pass@1 on lab:sums, only pass@2: evaluate it again"):
        diagnose(models, [without], resamples=0)


def test_a_type_may_be_named_like_an_end_of_an_interval(tmp_path):
    models = labelled(tmp_path, kinds={"lr_low": 0.4, "lr_high": -0.4, "lr": -0.2})
    table = diagnose(models, against=("lr_low", "lr_high"), resamples=0).table()
    assert "| change from lr_low | change from lr_high |" in markdown(table)
    assert markdown(table).count("change from") == 2
    with pytest.raises(BadInputError, match="'lr' and 'lr_high': the columns of one change"):
        diagnose(models, against=("lr", "lr_high"), resamples=0)


def test_the_page_shows_the_table_rounded_and_dashes_for_what_there_is_not(models, evaluations):
    table = diagnose(models, evaluations, resamples=50).table()
    lines = markdown(table).splitlines()
    assert lines[0].startswith("| family | model | rho | position held | untrained | change from base |")
    assert len(lines) == 2 + len(models)
    row = table.row(1, named=True)
    shown = f"{row['rho']:.2f} [{row['rho_low']:.2f}, {row['rho_high']:.2f}]".replace("-", "−")
    assert lines[3].startswith(f"| qwen2 | sft | {shown} | ")
    assert f"| {100 * row['accuracy']:.1f} [" in lines[3]
    assert "| — | — | 12 | 72 | 6 |" in lines[2]


def test_what_cannot_stand_in_one_table_is_refused(models, evaluations, tmp_path):
    other = labelled(tmp_path, "llama", settings={"norm": "frobenius"})
    with pytest.raises(BadInputError, match="norm is nuclear in qwen2 and frobenius in llama"):
        diagnose(models + other, resamples=0)
    with pytest.raises(BadInputError, match="against 'rl': there is no such type; there are base, sft, dpo"):
        diagnose(models, against=("rl",), resamples=0)
    with pytest.raises(BadInputError, match="evaluated twice, on lab:sums and on lab:sums"):
        diagnose(models, [*evaluations, replace(evaluations[0])], resamples=0)
    unknown = [without_digest(evaluation) for evaluation in evaluations] * 2
    assert diagnose(models, unknown, resamples=0).table()["accuracy"].null_count() == len(models)


def test_the_command_writes_the_table_in_four_forms_and_a_figure(models, tmp_path, capsys):
    words = []
    for model in models:
        model.fingerprint.save(model.folder)
        words.append(f"{model.label}={model.folder}")
    output = tmp_path / "out"
    assert main(["diagnose", *words, "--output", str(output), "--resamples", "20"]) == 0
    names = [f"diagnosis.{end}" for end in ("parquet", "csv", "md", "json", "svg", "pdf")]
    assert {path.name for path in output.iterdir()} == set(names)
    table = pl.read_parquet(output / names[0])
    assert pl.read_csv(output / names[1]).columns == table.columns
    assert (output / names[2]).read_text() == markdown(table)
    assert markdown(table) in capsys.readouterr().out
    record = json.loads((output / names[3]).read_text())
    assert [len(comparison["differences"]) for comparison in record["comparisons"]] == [3, 3]
    ElementTree.fromstring((output / names[4]).read_text())
    assert (output / names[5]).read_bytes().startswith(b"%PDF")


def test_a_page_gets_the_table_between_its_two_lines_and_keeps_the_rest(models, tmp_path):
    page, table = tmp_path / "page.md", diagnose(models, resamples=0).table()
    page.write_text(f"# A\n\n{BEGIN}\nold\n{END}\n\nend\n")
    renew_page(page, table)
    assert page.read_text() == f"# A\n\n{BEGIN}\n\n{markdown(table)}\n{END}\n\nend\n"
    renew_page(page, table)
    assert page.read_text().count("| qwen2 | base |") == 1
    for text in ("# A\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n"):
        page.write_text(text)
        with pytest.raises(BadInputError, match="expected a line <!-- diagnosis -->"):
            renew_page(page, table)
        assert page.read_text() == text
    with pytest.raises(BadInputError, match="cannot read the page"):
        renew_page(tmp_path / "missing.md", table)


def test_the_page_of_the_documentation_shows_the_results_that_are_kept():
    page, kept = ROOT / "docs" / "DIAGNOSIS.md", ROOT / "docs" / "diagnosis" / "diagnosis.parquet"
    shown = page.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    expected = (
        markdown(pl.read_parquet(kept)) if kept.exists() else "No results of this recipe are kept here yet."
    )
    assert shown == expected.strip()
