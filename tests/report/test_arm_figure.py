"""The figure of the arms of an experiment: every number in its row, and what is far outside marked."""

from xml.etree import ElementTree

from corrpo.report.figures.arm_accuracy_and_rho import Place, arms_figure

ARMS = ("grpo", "corrpo", "negate", "shuffle", "clamp", "verifier-free")


def place(model, arm, number):
    accuracy = 5.6 if arm == "verifier-free" else 70.0 + number
    return Place(model, arm, accuracy, accuracy - 3, accuracy + 3, -0.01 * number, None, None)


PLACES = [place(model, arm, number) for model in ("qwen2", "llama") for number, arm in enumerate(ARMS)]


def drawn():
    return arms_figure("arms", PLACES, {"qwen2": 64.0, "llama": 56.0}, accuracy_label="pass@1 (%)")


def texts(svg):
    root = ElementTree.fromstring(svg)
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_row_for_each_arm_with_accuracy_beside_the_change_of_rho():
    shown = texts(drawn().svg())
    assert [text for text in shown if text in ARMS] == list(ARMS)
    assert {"pass@1 (%)", "change of ρ over training", "qwen2", "llama"} <= set(shown)
    assert drawn().data.to_dicts() == [vars(one) for one in PLACES]


def test_an_arm_far_outside_of_the_others_is_a_number_at_the_edge():
    shown = texts(drawn().svg())
    assert shown.count("5.6 [2.6, 8.6]") == 2
    assert "10" not in shown, "the axis is that of the others"


def test_a_model_without_rho_in_any_arm_is_left_out():
    before = {"qwen2": 64.0, "llama": 56.0, "mamba2": 50.0}
    assert "mamba2" not in texts(arms_figure("arms", PLACES, before, accuracy_label="pass@1 (%)").svg())


def test_the_picture_has_a_background_of_its_own():
    first = drawn().svg().partition("patch_1")[2].partition("/>")[0]
    assert "fill: #ffffff" in first
