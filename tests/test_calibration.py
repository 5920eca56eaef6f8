"""Calibration: bins, ECE and verdict on answers whose calibration is known, and the diagram that shows them."""

import math

import matplotlib.pyplot as plt
import pytest
import torch

import tlhelpers as tl
from tlhelpers.evaluation import Predictions


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def answers(confidences, right, classes=3):
    """Predictions of class 0 with these confidences; the true class is 0 where `right`."""
    sure = torch.tensor(confidences)
    rest = ((1 - sure) / (classes - 1)).unsqueeze(1).expand(-1, classes - 1)
    labels = torch.tensor([0 if ok else 1 for ok in right])
    return Predictions(torch.cat([sure.unsqueeze(1), rest], dim=1), labels, torch.zeros(len(sure), dtype=torch.long))


def test_bins_and_ece_by_hand():
    found = tl.calibration_of(answers([0.95, 0.95, 0.65, 0.65], [True, False, True, True]))
    assert found.counts == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2] and found.n == 4
    assert found.accuracies[9] == 0.5 and found.confidences[6] == pytest.approx(0.65)
    assert math.isnan(found.accuracies[0])
    assert found.ece == pytest.approx((2 * 0.45 + 2 * 0.35) / 4)
    assert found.accuracy == 0.75 and found.mean_confidence == pytest.approx(0.8)
    assert found.overconfidence == pytest.approx(0.05) and found.verdict == "overconfident"


def test_a_calibrated_model_has_no_error_and_gaps_do_not_cancel_in_ece():
    calibrated = tl.calibration_of(answers([0.75] * 4, [True, True, True, False]))
    assert calibrated.ece == pytest.approx(0, abs=1e-6)
    both = tl.calibration_of(answers([0.95] * 10 + [0.45] * 10, [True] * 9 + [False] + [True] * 5 + [False] * 5))
    assert both.overconfidence == pytest.approx(0, abs=1e-6) and both.ece == pytest.approx(0.05, abs=1e-6)


def test_underconfident():
    found = tl.calibration_of(answers([0.5] * 4, [True] * 4))
    assert found.verdict == "underconfident" and found.overconfidence == pytest.approx(-0.5)


def test_limits_belong_to_the_lower_bin_and_one_to_the_last():
    found = tl.calibration_of(answers([0.5, 1.0], [True, True]), bins=2)
    assert found.counts == [1, 1]
    assert tl.calibration_of(answers([0.4, 1.0], [True, False]), bins=1).counts == [2]


def test_ece_does_not_depend_on_the_order_and_counts_everything():
    torch.manual_seed(0)
    probabilities = (3 * torch.randn(500, 7)).softmax(dim=1)
    labels = torch.randint(0, 7, (500,))
    found = tl.calibration_of(Predictions(probabilities, labels, probabilities.argmax(1)), bins=15)
    order = torch.randperm(500)
    mixed = Predictions(probabilities[order], labels[order], probabilities.argmax(1)[order])
    assert found.n == 500 and found.ece == pytest.approx(tl.calibration_of(mixed, bins=15).ece)
    sure = probabilities.amax(1)
    expected = 0.0
    for i in range(15):
        inside = (sure > i / 15) & (sure <= (i + 1) / 15)
        if inside.any():
            right = (probabilities.argmax(1) == labels)[inside].float().mean()
            expected += inside.sum().item() / 500 * abs(right - sure[inside].mean()).item()
    assert found.ece == pytest.approx(expected, abs=1e-6)


def test_table_has_a_line_per_filled_bin():
    lines = tl.calibration_of(answers([0.95, 0.95, 0.65], [True, False, True])).table().splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["0.60", "to", "0.70", "1", "65.0%", "100.0%", "-35.0"]
    assert lines[-1].startswith("all") and "ECE 41.7%" in lines[-1]
    assert (
        len({line.index(figure) + len(figure) for line, figure in zip(lines[1:], ("65.0%", "95.0%"), strict=False)})
        == 1
    )


@pytest.mark.parametrize(
    ("predictions", "bins", "message"),
    [
        (answers([0.9], [True]), 0, "bins=0"),
        (answers([0.9], [True]), 2.5, "bins=2.5"),
        (Predictions(torch.zeros(0, 3), torch.zeros(0), torch.zeros(0)), 10, "empty"),
        (torch.rand(3, 3), 10, "tl.predict"),
        (Predictions(torch.tensor([[4.0, -1.0]]), torch.tensor([0]), torch.tensor([0])), 10, "softmax"),
    ],
)
def test_refuses(predictions, bins, message):
    with pytest.raises(tl.CourseError, match=message):
        tl.calibration_of(predictions, bins)


def test_diagram_of_one_model():
    figure = tl.plot_reliability(answers([0.95, 0.95, 0.65], [True, False, True]))
    above, below = figure.axes
    assert "ECE" in above.get_title() and above.get_ylabel() == "accuracy"
    assert below.get_xlabel() == "confidence" and len(below.patches) == 10
    assert {text.get_text() for text in above.get_legend().get_texts()} == {
        "accuracy", "gap to confidence", "calibrated",
    }  # fmt: skip


@pytest.mark.parametrize("count", [2, 3, 5])
def test_diagrams_side_by_side_share_their_scales(count):
    runs = {f"model {i}": answers([0.5 + 0.08 * i] * (10 * (i + 1)), [True] * (10 * (i + 1))) for i in range(count)}
    figure = tl.plot_reliability(runs, bins=5)
    titled = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title().split("\n")[0] for ax in titled] == list(runs)
    counts = [ax for ax in figure.axes if ax.get_xlabel() == "confidence"]
    assert len({ax.get_ylim() for ax in counts}) == 1


def test_diagram_of_nothing():
    with pytest.raises(tl.CourseError, match="nothing to plot"):
        tl.plot_reliability({})
