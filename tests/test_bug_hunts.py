"""The doctor names the mistake planted in each bug hunt that a set-up shows, and the script that says so can fail."""

import shutil

import bug_hunts
import pytest
from bug_hunts import HUNTS, NOT_SHOWN, all_bug_hunts, examine, main, missed, versions
from lesson_source import LESSONS, LessonError

from tlhelpers.diagnosis import known_diagnoses
from tlhelpers.diagnosis.report import Report

BY_NUMBER = {hunt.number: hunt for hunt in HUNTS}


def test_the_doctor_names_every_planted_mistake_and_nothing_in_the_solved_cells(capsys):
    assert main([]) == 0
    table = capsys.readouterr().out
    assert "MISSED" not in table and all(number in table for number in all_bug_hunts())
    # a line for each hunt, and one below for its solved version
    lines = table[: table.index("No set-up shows")].splitlines()[1:]
    pairs = zip(lines, lines[1:], strict=False)
    solved = {above[:4]: line.split("solved:")[1].strip() for above, line in pairs if "solved:" in line}
    # in 03.6 a layer is frozen while its optimizer lives on: it is meant to stay in it
    assert solved == {number: "nothing" for number in BY_NUMBER} | {"03.6": "frozen-in-optimizer"}


def test_every_bug_hunt_of_the_lessons_is_run_or_has_a_reason():
    assert sorted([*BY_NUMBER, *NOT_SHOWN]) == all_bug_hunts()
    assert len(HUNTS) >= 8
    assert {code for hunt in HUNTS for code in hunt.codes} <= {diagnosis.code for diagnosis in known_diagnoses()}


def test_a_bug_hunt_without_its_bug_is_missed(monkeypatch, tmp_path, capsys):
    # the code comes from the lesson: where the lesson's mistake is repaired, the doctor has nothing to name
    lesson = next(LESSONS.glob("02_*.py"))
    source = lesson.read_text(encoding="utf-8")
    assert "#     parameter.requires_grad_ = False" in source
    repaired = source.replace("parameter.requires_grad_ = False", "parameter.requires_grad = bool(0)")
    (tmp_path / lesson.name).write_text(repaired, encoding="utf-8")
    monkeypatch.setattr(bug_hunts, "LESSONS", tmp_path)
    monkeypatch.setattr(bug_hunts, "HUNTS", (BY_NUMBER["02.2"],))
    assert main(["--reports"]) == 1
    out = capsys.readouterr().out
    assert "MISSED" in out and "02.2: freeze-without-effect is not seen" in out and "--- 02.2" in out


def test_a_diagnosis_of_the_solved_version_is_a_miss_too():
    hunt = BY_NUMBER["02.2"]
    ill = examine(hunt, versions("02.2")[0])
    assert missed(hunt, ill, Report(())) == []
    assert missed(hunt, ill, ill) == ["02.2: freeze-without-effect is seen in the solved version"]


def test_an_exercise_that_is_not_there_is_named(monkeypatch, tmp_path):
    with pytest.raises(LessonError, match="no exercise 02.9"):
        versions("02.9")
    shutil.copy(next(LESSONS.glob("01_*.py")), tmp_path)
    monkeypatch.setattr(bug_hunts, "LESSONS", tmp_path)
    assert all_bug_hunts() == ["01.2", "01.5"]
