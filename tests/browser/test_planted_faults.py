"""The browser tests can fail: each fault planted here, in a small notebook, is found and named."""

from . import reading
from .explorer_page import Explorer, find_panels
from .made_up_notebooks import COMPLAINS, DEAD, DEAD_QUIZ, FAULTY_CELLS, MISSING, NAMELESS, SETUP, THROWS, notebook
from .quiz_page import answer_quiz

SOON = 3  # seconds after which something that can never answer may be called dead


def test_errors_warnings_missing_lines_and_pictures_are_found(open_notebook):
    page = open_notebook(notebook(*FAULTY_CELLS))
    page.run_all()
    cells = page.cells()
    warning, error = reading.errors(cells)
    assert "planted warning" in warning and "ZeroDivisionError" in error
    without_content, no_figure = reading.pictures(cells)
    assert "an image without content" in without_content and "no figure below" in no_figure
    assert len(reading.checks(cells)) == 1
    (unfinished,) = reading.unfinished(cells)
    assert "never reached" in unfinished
    assert any("404" in complaint for complaint in page.watcher.complaints)


def test_what_a_page_complains_about_and_whom_it_asks_is_heard(open_notebook):
    page = open_notebook(notebook(*COMPLAINS))
    page.run_all()
    page.cells()
    heard = "\n".join(page.watcher.complaints)
    for planted in ("planted complaint", "planted rejection", "asks another host: https://example.invalid/x.png"):
        assert planted in heard, heard


def test_dead_nameless_and_throwing_explorers_are_found(open_notebook):
    page = open_notebook(notebook(SETUP, DEAD, NAMELESS, THROWS))
    page.run_all()
    assert reading.everything(page.cells()) == []
    panels = [panel for _, panel in find_panels(page.page)]
    dead, nameless, throws = (Explorer(page.page, panel, SOON).explore().findings for panel in panels)
    silent = "nothing answers when 'Level' is moved by "
    assert dead == [f"{silent}mouse", f"{silent}keyboard", "nothing could be moved"]
    assert nameless == ["a control without a name: slider"]
    assert any("Not drawn: KeyError" in finding for finding in throws)


def test_a_quiz_that_does_not_answer_is_found(open_notebook):
    page = open_notebook(notebook(SETUP, DEAD_QUIZ))
    page.run_all()
    ((kind, panel),) = find_panels(page.page)
    findings = answer_quiz(page.page, panel, "00", limit=1)
    assert kind == "quiz"
    assert "question 1: nothing is said about the wrong answer" in findings[0]
    assert findings[-1] == "the score does not count the first tries"


def test_a_widget_that_cannot_be_shown_is_found(open_notebook):
    page = open_notebook(notebook(MISSING))
    page.run_all()
    (finding,) = reading.pictures(page.cells())
    assert "a widget is not shown" in finding
