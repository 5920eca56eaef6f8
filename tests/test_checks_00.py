"""The checks of lesson 00: right on the solution, wrong by name on typical mistakes, silent on the blank."""

import pytest

import tlhelpers as tl

JOBS = {
    "the network learns from these images": "training",
    "you compare two methods on these images": "validation",
    "you decide when to stop training with these images": "validation",
    "you touch these images once, to report the final figure": "test",
}


def with_answer(place: int, answer: object) -> dict:
    """The right table with one entry replaced."""
    return {sentence: answer if row == place else job for row, (sentence, job) in enumerate(JOBS.items())}


def test_the_blanks_count_as_not_attempted():
    assert tl.check("00.1", ...).state == "not attempted"
    assert tl.check("00.2", ..., 0.4, 0.8).state == "not attempted"
    assert tl.check("00.3", dict.fromkeys(JOBS, ...)).state == "not attempted"
    assert tl.check("00.3", with_answer(3, ...)).state == "not attempted"


@pytest.mark.parametrize(
    "answer",
    [
        ("00.1", 5),
        ("00.2", 40.0, 0.4, 0.8),
        ("00.2", -12.5, 0.75, 0.625),
        ("00.3", JOBS),
        ("00.3", with_answer(0, "Train")),
        ("00.3", with_answer(1, "val")),
    ],
)
def test_solutions_are_right(answer):
    assert tl.check(*answer).state == "right"


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (("00.1", 4), "count the names"),
        (("00.1", "5"), "quotation marks"),
        (("00.1", 600), "number of images"),
        (("00.1", 120), "per class"),
        (("00.1", [1, 2]), "count the names"),
        (("00.2", 0.4, 0.4, 0.8), "multiply by 100"),
        (("00.2", -40.0, 0.4, 0.8), "sign"),
        (("00.2", 100.0, 0.4, 0.8), "relative"),
        (("00.2", 1.0, 0.4, 0.8), "relative"),
        (("00.2", 12.0, 0.4, 0.8), "is not it"),
        (("00.2", "much", 0.4, 0.8), "expects a number of percentage points"),
        (("00.3", with_answer(1, "test")), "use validation"),
        (("00.3", with_answer(0, "validation")), "not the validation part"),
        (("00.3", with_answer(3, "training")), "not the training part"),
        (("00.3", with_answer(3, "exam")), "none of"),
        (("00.3", {"other": "test"}), "this one is gone"),
        (("00.3", 7), "expects a dictionary"),
    ],
)
def test_mistakes_are_named(answer, named):
    result = tl.check(*answer)
    assert result.state == "wrong"
    assert named in result.message
