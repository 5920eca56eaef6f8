"""What the browser tests need: a browser, a copy of the course, a JupyterLab on it. Without a browser they are skipped.

They start only when somebody names them (`make test-browser`, `pytest tests/browser`): an ordinary run of all tests
leaves them out.
"""

import importlib.util
import sys
from pathlib import Path

import nbformat
import pytest
from find_browser import BROWSERS, find_browser

from . import lab_server
from .lab_page import NotebookPage

HERE = Path(__file__).parent
COURSE = HERE.parents[1]
SCREENSHOTS = COURSE / "build" / "browser"
OPTIONS = [
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # other hosts do not exist
    "--disable-dev-shm-usage",  # in a container that memory is small
]
SIZE = {"width": 1280, "height": 1400}


def pytest_addoption(parser):
    group = parser.getgroup("browser tests")
    group.addoption("--need-browser", action="store_true", help="fail where the tests would be skipped")
    group.addoption("--lab-python", default=sys.executable, help="the Python whose JupyterLab is tested")
    group.addoption("--browser-program", default=None, help="this Chromium or Chrome, not the first one found")


def named(config) -> bool:
    """Whether the command line asks for this folder or something in it."""
    paths = [config.invocation_params.dir / str(argument).split("::")[0] for argument in config.args]
    return any(path.resolve() == HERE or HERE in path.resolve().parents for path in paths)


def pytest_ignore_collect(collection_path, config):
    return None if named(config) else True


def why_not(program: str | None) -> str:
    """What is missing, in words that say what to do; empty when all is there."""
    if importlib.util.find_spec("playwright") is None:
        return f'the package playwright is missing: {sys.executable} -m pip install -e ".[browser]"'
    if program is None:
        return f"no Chromium or Chrome found ({', '.join(BROWSERS[:4])}): install one, on Debian `apt install chromium`"
    return ""


@pytest.fixture(scope="session")
def program(pytestconfig) -> str:
    """The browser. Everything here needs it: without it every test is skipped, and says why."""
    program = find_browser(pytestconfig.getoption("--browser-program"))
    if reason := why_not(program):
        (pytest.fail if pytestconfig.getoption("--need-browser") else pytest.skip)(reason)
    return program


@pytest.fixture(scope="session")
def context(program):
    """A browser window with nothing stored in it."""
    from playwright.sync_api import sync_playwright

    for old in SCREENSHOTS.glob("failed-*.png"):
        old.unlink()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        context = browser.new_context(viewport=SIZE)
        context.add_init_script(path=HERE / "in_page.js")
        yield context
        browser.close()


@pytest.fixture(scope="session")
def lab(program, pytestconfig, tmp_path_factory):
    """JupyterLab on a copy of the course."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "private").mkdir()
    lab_server.copy_course(folder / "course")
    with lab_server.running_lab(pytestconfig.getoption("--lab-python"), folder / "course", folder / "private") as lab:
        yield lab


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture
def open_notebook(request, context, lab):
    """open_notebook("notebooks/00_start_here.ipynb") or open_notebook(notebook): a NotebookPage, closed at the end."""
    opened = []

    def open_one(notebook) -> NotebookPage:
        if not isinstance(notebook, str):
            path = f"{request.node.name}.ipynb".replace("[", "_").replace("]", "")
            nbformat.write(notebook, lab.folder / path)
            notebook = path
        opened.append(NotebookPage(context, lab, notebook))
        return opened[-1]

    yield open_one
    failed = getattr(request.node, "report_call", None)
    for page in opened:
        if failed is not None and failed.failed:
            page.screenshots(SCREENSHOTS, f"failed-{Path(page.path).stem}")
        page.close()
