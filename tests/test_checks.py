"""The machinery of the exercise checks: three outcomes, one line, no crash, no trace."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import tlhelpers as tl
from tlhelpers import checks
from tlhelpers.checks import attempted, exercise, require


@pytest.fixture(autouse=True)
def own_exercises(monkeypatch):
    """Exercises made here are gone after the test, and the lessons' own are all loaded before."""
    checks.known_exercises()
    monkeypatch.setattr(checks, "_EXERCISES", dict(checks._EXERCISES))


@pytest.fixture
def double():
    @exercise("90.1", expects="a whole number")
    def check_double(answer):
        attempted(answer)
        require(answer > 3, "3 is the number itself: multiply by 2")
        require(answer == 6, "that is not twice 3: add 3 and 3")
        return "twice 3 is 6"


def test_right_wrong_and_blank_print_one_line_each(double, capsys):
    result = tl.check("90.1", 6)
    assert capsys.readouterr().out == "[OK] 90.1 right: twice 3 is 6\n"
    assert (result.state, result.message) == ("right", "twice 3 is 6")
    assert tl.check("90.1", 3).state == "wrong"
    assert capsys.readouterr().out == "[x] 90.1 not yet: 3 is the number itself: multiply by 2\n"
    assert tl.check("90.1", ...).state == "not attempted"
    assert capsys.readouterr().out.startswith("[ ] 90.1 not attempted yet: replace the ...")


@pytest.mark.parametrize("blank", [..., None, "", " ... ", [1, ...], {"a": None}, (1, [..., 2])])
def test_every_kind_of_blank_counts_as_not_attempted(double, blank):
    assert tl.check("90.1", blank).state == "not attempted"


@pytest.mark.parametrize("answer", [0, False, 0.0, torch.zeros(2), [], np.zeros(3), nn.Linear(1, 1)])
def test_an_answer_that_looks_empty_is_an_attempt(answer):
    attempted(answer)


@pytest.mark.parametrize("odd", ["six", torch.zeros(2), object(), nn.Linear(1, 1), lambda: 6, [6], {}])
def test_an_odd_answer_is_wrong_says_what_is_expected_and_stops_nothing(double, odd, capsys):
    assert tl.check("90.1", odd).state == "wrong"
    line = capsys.readouterr().out
    assert "It expects a whole number" in line and type(odd).__name__ in line and line.count("\n") == 1


def test_too_many_or_too_few_answers_stop_nothing(double):
    assert tl.check("90.1").state == "wrong"
    assert tl.check("90.1", 6, 6).state == "wrong"
    assert tl.check("90.1", answer=6).state == "right"


def test_a_check_that_raises_with_line_breaks_still_prints_one_line(capsys):
    @exercise("90.2")
    def check_loud(answer):
        raise RuntimeError("one\ntwo\nthree")

    assert tl.check("90.2", 1).state == "wrong"
    assert capsys.readouterr().out.count("\n") == 1


def test_a_helpers_own_complaint_is_passed_on(capsys):
    @exercise("90.3")
    def check_split(answer):
        tl.stratified_split(answer)

    tl.check("90.3", [0, 0])
    assert capsys.readouterr().out.startswith("[x] 90.3 not yet: class 0 has 2 images")


def test_an_interrupt_passes_through():
    @exercise("90.4")
    def check_endless(answer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tl.check("90.4", 1)


def test_an_unknown_number_lists_the_known_ones(double):
    with pytest.raises(tl.CourseError, match=r"'77\.7'.*90\.1"):
        tl.check("77.7", 1)
    with pytest.raises(tl.CourseError, match="90.1"):
        tl.check(90.5, 1)


def test_two_checks_under_one_number_are_refused_and_a_reload_is_not(double):
    def check_other(answer):
        return "other"

    with pytest.raises(tl.CourseError, match="90.1"):
        exercise("90.1")(check_other)
    exercise("90.6")(check_other)
    exercise("90.6")(check_other)


def test_the_result_adds_nothing_to_the_cell(double):
    from IPython.core.formatters import DisplayFormatter

    assert DisplayFormatter().format(tl.check("90.1", 6)) == ({}, {})


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).eval()
    model[1].train()
    model[0].requires_grad_(False)
    model(torch.randn(6, 3)).sum().backward()
    return model


def picture_of(model):
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [part.training for part in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()],
    )


def same(first, second):
    gradients = zip(first[3], second[3], strict=True)
    return (
        all(torch.equal(value, second[0][name]) for name, value in first[0].items())
        and first[1:3] == second[1:3]
        and all((a is None and b is None) or torch.equal(a, b) for a, b in gradients)
    )


@pytest.mark.parametrize("ending", ["right", "mistake", "crash"])
def test_a_check_leaves_no_trace(ending):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = tl.make_loader(TensorDataset(torch.randn(8, 3)), 4, train=True)
    images, array = torch.rand(2, 3), np.ones(3)

    @exercise("90.5")
    def check_rough(model, optimizer, loader, images, array):
        torch.manual_seed(5), random.seed(5), np.random.seed(5)
        torch.set_grad_enabled(False)
        with torch.enable_grad():
            model.train().requires_grad_(True)
            for (batch,) in loader:
                model(batch).sum().backward()
                optimizer.step()
        images.zero_(), array.fill(0)
        if ending == "crash":
            raise IndexError("list index out of range")
        require(ending == "right", "a mistake")
        return "fine"

    before, order = picture_of(model), loader.sampler.generator.get_state()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    expected = torch.rand(2), random.random(), np.random.rand()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    copies = images.clone(), array.copy()
    tl.check("90.5", model, optimizer, loader, images=images, array=array)
    assert same(before, picture_of(model)) and not optimizer.state
    assert torch.equal(loader.sampler.generator.get_state(), order)
    assert torch.equal(images, copies[0]) and np.array_equal(array, copies[1])
    assert torch.is_grad_enabled()
    assert torch.equal(torch.rand(2), expected[0]) and (random.random(), np.random.rand()) == expected[1:]


def test_answers_inside_lists_are_put_back_too():
    model = network()

    @exercise("90.7")
    def check_list(models):
        models[0][1].running_mean.fill_(7)
        models[0].train()

    before = picture_of(model)
    assert tl.check("90.7", [model]).state == "right"
    assert same(before, picture_of(model))


def test_the_lessons_checks_are_found_by_number_alone():
    known = checks.known_exercises()
    assert any(number.startswith("01.") for number in known) and any(number.startswith("02.") for number in known)
    for number in known:
        assert number[2] == "." and number[:2].isdigit()
        assert checks._EXERCISES[number].function.__module__.rpartition(".")[2] in (f"lesson_{number[:2]}", "checks")
