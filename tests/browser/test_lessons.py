"""Each lesson in a real browser: opened as it came, run by the menu, its explorers moved and its quiz answered."""

import re

import pytest

from . import reading
from .conftest import COURSE, SCREENSHOTS
from .explorer_page import Explorer, find_panels
from .quiz_page import answer_quiz

LESSONS = sorted(path.stem for path in (COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def test_there_are_nine_lessons():
    assert [name[:2] for name in LESSONS] == ["00", "01", "02", "03", "04", "05", "06", "07", "08"]


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_works_in_the_browser(open_notebook, name):
    lesson, findings = name[:2], []
    notebook = open_notebook(f"notebooks/{name}.ipynb")
    findings += [f"before it ran: {finding}" for finding in reading.pictures(notebook.cells())]

    notebook.run_all()
    cells = notebook.cells()
    findings += reading.everything(cells)
    notebook.screenshots(SCREENSHOTS, lesson)

    panels = find_panels(notebook.page)
    for kind, call in (("explorer", r"^(?!\s*#).*\btl\.explore_\w+\("), ("quiz", r"^(?!\s*#).*\btl\.quiz\(")):
        wanted = sum(len(re.findall(call, cell["source"], re.MULTILINE)) for cell in cells)
        there = [found for found, _ in panels].count(kind)
        findings += [] if there == wanted else [f"{there} panels of the kind {kind}, the cells call {wanted}"]
    for number, (kind, panel) in enumerate(panels, 1):
        if kind == "quiz":
            findings += answer_quiz(notebook.page, panel, lesson)
        else:
            explored = Explorer(notebook.page, panel).explore()
            findings += [f"{explored.title}: {finding}" for finding in explored.findings]
        panel.screenshot(path=SCREENSHOTS / f"{lesson}-{kind}-{number}-moved.png")
    findings += notebook.watcher.complaints
    assert not findings, "\n".join(findings)
