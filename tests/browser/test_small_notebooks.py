"""Small notebooks in a real browser: every kind of control, all explorers, a quiz. Quick to run alone."""

from . import reading
from .conftest import SCREENSHOTS
from .explorer_page import Explorer, find_panels
from .made_up_notebooks import PANEL, SETUP, notebook


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
