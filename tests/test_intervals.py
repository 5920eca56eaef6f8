"""Wilson's interval for an accuracy: published values, the two ends, and how often it holds the truth."""

import pytest
import torch

from tlhelpers import CourseError, accuracy_interval


@pytest.mark.parametrize(
    ("right", "n", "confidence", "interval"),
    [
        # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3
        (81, 263, 0.95, (0.2553, 0.3662)),
        (15, 148, 0.95, (0.0624, 0.1605)),
        (0, 20, 0.95, (0.0, 0.1611)),
        (1, 29, 0.95, (0.0061, 0.1718)),
        (5, 10, 0.99, (0.1842, 0.8158)),  # worked out with the formula by hand, z = 2.5758
    ],
)
def test_known_values(right, n, confidence, interval):
    assert accuracy_interval(right, n, confidence) == pytest.approx(interval, abs=6e-5)


@pytest.mark.parametrize("n", [1, 7, 1020, 6149])
def test_both_ends(n):
    low, high = accuracy_interval(0, n)
    assert low == 0.0 and 0 < high < 1
    assert accuracy_interval(n, n) == pytest.approx((1 - high, 1.0))
    assert accuracy_interval(n, n)[1] == 1.0


def test_it_narrows_with_more_samples_and_widens_with_more_confidence():
    widths = [high - low for low, high in (accuracy_interval(n // 2, n) for n in (10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)
    wide, narrow = accuracy_interval(50, 100, 0.99), accuracy_interval(50, 100, 0.8)
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]


def test_it_holds_the_truth_about_as_often_as_it_says():
    torch.manual_seed(0)
    rights = torch.distributions.Binomial(100, torch.tensor(0.9)).sample((4000,)).int().tolist()
    holds = [low <= 0.9 <= high for low, high in (accuracy_interval(right, 100) for right in rights)]
    assert 0.93 < sum(holds) / len(holds) < 0.97


@pytest.mark.parametrize(("right", "n"), [(-1, 10), (11, 10), (0, 0), (0.5, 10), (5, -1)])
def test_impossible_counts_are_refused(right, n):
    with pytest.raises(CourseError, match="whole numbers of samples"):
        accuracy_interval(right, n)


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5])
def test_impossible_confidence_is_refused(confidence):
    with pytest.raises(CourseError, match="between 0 and 1"):
        accuracy_interval(5, 10, confidence)
