"""Curves over learning rates: labelled directly, cut where they would flatten the rest, refusing what is empty."""

import math

import matplotlib.pyplot as plt
import pytest

import tlhelpers as tl
from tlhelpers import CourseError, LRSweep


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def sweep(scale=1.0):
    losses = [scale * value for value in (3.0, 3.0, 2.9, 2.5, 2.0, 1.7, 1.6, 1.6, 2.0, 50.0)]
    return LRSweep([10.0**e for e in range(-9, 1)], losses, losses, "finished")


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_one_sweep_has_a_log_axis_and_its_suggestion_in_words():
    figure = tl.plot_lr_sweep(sweep())
    ax = figure.axes[0]
    assert ax.get_xscale() == "log" and "learning rate" in ax.get_xlabel()
    assert labels(figure) == ["smoothed", f"suggestion {sweep().suggestion():.1e}"]


def test_a_wreck_does_not_flatten_the_curve():
    assert tl.plot_lr_sweep(sweep()).axes[0].get_ylim()[1] < 10


def test_several_sweeps_are_named_and_differ_in_more_than_colour():
    figure = tl.plot_lr_sweep({"AdamW": sweep(), "SGD": sweep(0.9)})
    assert [label.split(":")[0] for label in labels(figure)] == ["AdamW", "AdamW", "SGD", "SGD"]
    lines = [line for line in figure.axes[0].lines if line.get_label().endswith("smoothed")]
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    assert lines[0].get_color() != lines[1].get_color()


def test_a_sweep_without_suggestion_says_nothing():
    flat = LRSweep([0.1, 1.0], [1.0, 1.0], [1.0, 1.0], "finished")
    assert labels(tl.plot_lr_sweep(flat)) == ["smoothed"]


@pytest.mark.parametrize("nothing", [{}, LRSweep([], [], [], "stopped")])
def test_no_sweep_is_refused(nothing):
    with pytest.raises(CourseError, match="nothing to plot"):
        tl.plot_lr_sweep(nothing)


def ladder(groups=6, steps=20):
    return [[(1 + math.sin(step)) * 10.0**-g + 1e-9 for g in range(groups)] for step in range(steps)]


def test_each_group_has_its_line_and_its_name():
    names = ["head", "layer4", "layer3", "layer2", "layer1", "stem"]
    figure = tl.plot_learning_rates(ladder(), names)
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == names
    assert len({line.get_color() for line in ax.lines}) == len({str(line._dash_pattern) for line in ax.lines}) == 6
    for text, line in zip(ax.texts, ax.lines, strict=True):  # the name stands on its own line
        x, y = text.get_position()
        assert line.get_ydata()[list(line.get_xdata()).index(x)] == y


def test_equal_rates_share_one_line():
    ax = tl.plot_learning_rates([[0.1, 0.1, 0.2]] * 3, ["a", "b", "c"]).axes[0]
    assert [text.get_text() for text in ax.texts] == ["a, b", "c"]
    ax = tl.plot_learning_rates([[0.1, 0.1, 0.2]] * 3, ["stem", "stem, no decay", "head"]).axes[0]
    assert [text.get_text() for text in ax.texts] == ["stem", "head"]


def test_more_groups_than_colours_stay_apart():
    ax = tl.plot_learning_rates(ladder(9), list("abcdefghi")).axes[0]
    assert len({(line.get_color(), str(line._dash_pattern)) for line in ax.lines}) == 9


def test_log_axis_or_plain():
    assert tl.plot_learning_rates(ladder(2), ["a", "b"]).axes[0].get_yscale() == "log"
    assert tl.plot_learning_rates([[0.0, 1.0]] * 2, ["a", "b"], log=False).axes[0].get_yscale() == "linear"


def test_a_last_step_near_zero_does_not_flatten_the_rest():
    ax = tl.plot_learning_rates([[1e-3, 1e-5], [1e-3, 1e-5], [1e-12, 1e-14]], ["head", "stem"]).axes[0]
    assert 1e-9 < ax.get_ylim()[0] < 1e-5


@pytest.mark.parametrize(
    ("rates", "names", "message"),
    [
        ([], ["a"], "one row per step with 1 rates"),
        ([[0.1, 0.2]], ["a"], r"the rows have \[2\]"),
        ([[0.1], [0.1, 0.2]], ["a"], r"\[1, 2\]"),
        ([[0.0]], ["a"], "log=False"),
        ([[]], [], "one row per step"),
    ],
)
def test_refusals(rates, names, message):
    with pytest.raises(CourseError, match=message):
        tl.plot_learning_rates(rates, names)
