"""Small notebooks in a real browser: every kind of control, all explorers, a quiz. Quick to run alone."""

from . import reading
from .conftest import SCREENSHOTS
from .explorer_page import Explorer, find_panels
from .made_up_notebooks import EXPLORERS, PANEL, SETUP, notebook
from .quiz_page import answer_quiz


def test_every_kind_of_control_moves_by_mouse_and_keyboard(open_notebook):
    page = open_notebook(notebook(SETUP, PANEL))
    page.run_all()
    assert reading.everything(page.cells()) == []
    ((kind, panel),) = find_panels(page.page)
    assert kind == "explorer"
    panel.screenshot(path=SCREENSHOTS / "controls.png")
    explored = Explorer(page.page, panel).explore()
    assert explored.findings == []
    assert {move.name for move in explored.moves} == {"Level", "Share", "a track", "Method", "Dark", "Draw again"}
    assert all(move.picture and move.status for move in explored.moves), explored.moves
    assert page.watcher.complaints == []


def test_all_explorers_and_a_quiz_answer_to_mouse_and_keyboard(open_notebook):
    page = open_notebook(notebook(SETUP, *EXPLORERS, 'tl.quiz("03")'))
    page.run_all()
    findings = reading.everything(page.cells())
    panels = find_panels(page.page)
    assert [kind for kind, _ in panels] == ["explorer"] * 5 + ["quiz"]
    for number, (kind, panel) in enumerate(panels, 1):
        panel.screenshot(path=SCREENSHOTS / f"small-{kind}-{number}.png")
        if kind == "quiz":
            findings += answer_quiz(page.page, panel, "03")
        else:
            explored = Explorer(page.page, panel).explore()
            findings += [f"{explored.title}: {finding}" for finding in explored.findings]
        panel.screenshot(path=SCREENSHOTS / f"small-{kind}-{number}-moved.png")
    findings += page.watcher.complaints
    assert not findings, "\n".join(findings)
