"""A notebook that was opened alone: its setup cell against a tiny course in git; and the parts of colab_check.py.

The cell runs in a bare environment, where no tlhelpers is installed, with the stand-in for google.colab.
"""

import argparse
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import colab_check
import colab_environment
import nbformat
import pytest
from colab_check import STAND_IN, CheckError, first_failure, open_alone, publish, run_notebook, with_outputs
from course_address import ROOT, setup_cell
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

TINY_HELPERS = 'def start(seed):\n    print("started", __file__)\n'


@pytest.fixture(autouse=True)
def plain_git(monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("LC_ALL", "C")  # the tests know what git says in English
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")


def git(folder: Path, *arguments) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def course(tmp_path) -> Path:
    """A repository with a tlhelpers that only says where it is, a tag v1 and a branch release/2."""
    folder = tmp_path / "repository"
    (folder / "tlhelpers").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "tlhelpers" / "__init__.py").write_text(TINY_HELPERS)
    (folder / "notebooks" / "a.txt").write_text("a")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "tag", "v1")
    git(folder, "branch", "release/2")
    return folder


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """A Python without any package."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture
def content(tmp_path) -> Path:
    """The stand-in for Colab's /content: empty."""
    folder = tmp_path / "content"
    folder.mkdir()
    return folder


@pytest.fixture
def first_cell(bare_python, course, content):
    """Run the setup cell in a fresh Python; returns (exit status, what it printed, its error)."""

    def run(repo=None, ref="main", folder=content, search=STAND_IN, after=""):
        cell = setup_cell((course.as_uri() if repo is None else repo, ref))
        environment = {**os.environ, "PYTHONPATH": str(search)}
        done = subprocess.run(
            [bare_python, "-c", f"{cell}\n{after}"], cwd=folder, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    return run


def helpers(folder: Path) -> str:
    return f"started {folder / 'tlhelpers' / '__init__.py'}\n"


def test_the_first_cell_fetches_the_course_once_and_says_how_long_it_took(first_cell, content):
    status, printed, error = first_cell(after='print("google.colab" in sys.modules)')
    assert (status, error) == (0, "")
    place = content / "course" / "main"
    assert re.fullmatch(rf"Fetched the course \(main\) in \d+ s\n{re.escape(helpers(place))}True\n", printed)
    (place / "mine").touch()
    assert first_cell() == (0, helpers(place), "")
    assert (place / "mine").exists()


def test_it_fetches_in_the_same_way_where_there_is_no_colab(first_cell, content):
    status, printed, _ = first_cell(search="", after='print("google.colab" in sys.modules)')
    assert status == 0
    assert printed.startswith("Fetched the course") and printed.endswith("False\n")


@pytest.mark.parametrize("ref", ["v1", "release/2"])
def test_a_tag_or_a_branch_with_a_slash_is_fetched(first_cell, content, ref):
    status, printed, error = first_cell(ref=ref)
    assert (status, error) == (0, "")
    assert printed.endswith(helpers(content / "course" / ref))


def test_a_notebook_inside_the_course_fetches_nothing(first_cell, course):
    assert first_cell(folder=course / "notebooks") == (0, helpers(course), "")
    assert not (course / "notebooks" / "course").exists()


def test_an_installed_course_is_used(first_cell, course, content):
    assert first_cell(search=course) == (0, helpers(course), "")
    assert list(content.iterdir()) == []


def test_an_address_that_does_not_answer_is_explained(first_cell, content):
    status, _, error = first_cell(repo=(content / "nowhere").as_uri())
    assert status == 1
    assert "RuntimeError: The course was not fetched. With a network, run this cell again." in error
    assert re.search(r"nowhere' does not", error)  # git's own words follow
    assert not (content / "course" / "main").exists()


def test_a_branch_that_does_not_exist_is_named(first_cell, content):
    status, _, error = first_cell(ref="mian")
    assert status == 1
    assert re.search(r"The course was not fetched.*Remote branch mian not found", error, re.DOTALL)
    assert first_cell()[0] == 0  # nothing is left behind that would be in the way


def test_a_clone_that_was_interrupted_is_not_taken_for_a_whole_one(first_cell, content):
    half = content / "course" / "main-1767225600" / "tlhelpers"  # as it was called when the kernel was stopped
    half.mkdir(parents=True)
    (half / "__init__.py").write_text("raise RuntimeError('half a course')")
    status, printed, error = first_cell()
    assert (status, error) == (0, "")
    assert printed.endswith(helpers(content / "course" / "main"))


def test_a_folder_in_the_way_is_named(first_cell, content):
    (content / "course" / "main" / "mine").mkdir(parents=True)
    status, _, error = first_cell()
    assert status == 1
    assert re.search(r"The course was not fetched.*course.main", error, re.DOTALL)
    assert (content / "course" / "main" / "mine").is_dir()


# The stand-in for Colab's own package.


def test_drive_is_a_folder_and_refuses_what_the_real_one_refuses(bare_python, content):
    (content / "full").mkdir()
    (content / "full" / "file").touch()
    code = """
from google.colab import drive, output
drive.mount("drive")
drive.mount("drive")
output.enable_custom_widget_manager()
for wrong in ("my drive", "full", "nowhere/drive"):
    try:
        drive.mount(wrong)
    except ValueError as error:
        print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(STAND_IN)}
    done = subprocess.run([bare_python, "-c", code], cwd=content, env=environment, capture_output=True, text=True)
    mounted, again, *refused = done.stdout.splitlines()
    assert mounted == "Mounted at drive" and again.startswith("Drive already mounted at drive")
    assert [line.split()[1:4] for line in refused] == [
        ["must", "not", "contain"],
        ["must", "not", "already"],
        ["must", "be", "in"],
    ]
    assert (content / "drive" / "MyDrive").is_dir()


# The environments.


def test_colabs_list_is_exact_and_holds_everything_the_course_needs():
    python, _, listed = colab_environment.package_list("colab")
    assert python == "3.13"
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in listed)
    versions = dict(line.replace("_", "-").split("==") for line in listed)
    issue = {"torch": "2.11.0", "torchvision": "0.26.0", "ipython": "7.34.0", "ipywidgets": "7.7.1", "numpy": "2.1.3"}
    assert issue.items() <= versions.items()
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {line.split(">=")[0] for line in needed} - {"jupyterlab"}  # Colab brings its own notebook
    assert names <= set(versions)
    assert "tlhelpers" not in versions


def test_the_oldest_list_is_pyprojects(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nrequires-python = ">=3.12"\ndependencies = ["a>=1"]\n'
        '[project.optional-dependencies]\ndev = ["b>=2"]\n'
    )
    python, arguments, listed = colab_environment.package_list("oldest", tmp_path)
    assert (python, listed) == ("3.12", ["a>=1", "b>=2"])
    assert arguments[:2] == ["--resolution", "lowest-direct"]


def test_a_python_of_another_version_is_refused(monkeypatch, tmp_path):
    running = "{}.{}".format(*sys.version_info)
    assert colab_environment.find_python(running) == sys.executable
    assert colab_environment.find_python(running, sys.executable) == sys.executable
    with pytest.raises(CheckError, match=r"--python .* is not Python 3.99"):
        colab_environment.find_python("3.99", sys.executable)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert colab_environment.find_python("3.99") == "3.99"  # for uv to fetch


def test_an_environment_is_kept_until_its_list_changes_and_never_half_made(monkeypatch, tmp_path):
    calls = []

    def run(command, **options):
        calls.append(command[-1])
        if "install" in command and broken:
            raise CheckError("no network")
        Path(tmp_path / "build" / "check" / "colab").mkdir(parents=True, exist_ok=True)
        return ""

    monkeypatch.setattr(colab_environment, "ROOT", tmp_path)
    monkeypatch.setattr(colab_environment, "run", run)
    monkeypatch.setattr(colab_environment, "find_uv", lambda: ["uv"])
    monkeypatch.setattr(colab_environment, "find_python", lambda *a: "python")
    broken = True
    with pytest.raises(CheckError, match="no network"):
        colab_environment.make_environment("colab", "", "")
    assert not (tmp_path / "build" / "check" / "colab").exists()
    broken = False
    python = colab_environment.make_environment("colab", "", "")
    assert python.is_relative_to(tmp_path / "build" / "check" / "colab")
    calls.clear()
    colab_environment.make_environment("colab", "", "")
    assert calls == []
    colab_environment.make_environment("colab", "", "cpu")
    assert len(calls) == 3


# What is checked, and how.


def test_what_is_not_committed_is_named_and_not_checked(course, tmp_path, capsys):
    (course / "tlhelpers" / "__init__.py").write_text("broken")
    git(course, "checkout", "-q", "--detach")  # as a pull request is checked out
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", "-b", "v1", course.as_uri(), shallow)
    for number, root in enumerate((course, shallow)):
        folder = tmp_path / str(number)
        folder.mkdir()
        address, source = publish(folder, root)
        assert (source / "tlhelpers" / "__init__.py").read_text() == TINY_HELPERS
        assert git(folder, "ls-remote", address, colab_check.REF).split()[0] == git(root, "rev-parse", "HEAD")
    assert capsys.readouterr().out == "Not committed, so not checked: tlhelpers/__init__.py\n"


def test_a_generated_notebook_gets_the_committed_outputs():
    def cells(first):
        return [new_markdown_cell("text"), new_code_cell(first, metadata={"tags": ["setup"]}), new_code_cell("1 + 1")]

    printed = new_output("stream", text="2\n")
    committed = new_notebook(cells=cells("import a"))
    for cell in committed.cells[1:]:
        cell.outputs, cell.execution_count = [printed], 5
    _, setup, code = with_outputs(new_notebook(cells=cells("fetch")), committed).cells
    assert (setup.outputs, code.outputs, code.execution_count) == ([], [printed], 5)
    committed.cells[2].source = "1 + 2"
    with pytest.raises(CheckError, match="commit what `make notebooks` builds"):
        with_outputs(new_notebook(cells=cells("fetch")), committed)


def test_a_kernel_sees_what_a_kernel_on_colab_sees(monkeypatch):
    monkeypatch.setenv("TLHELPERS_PROFILE", "full")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    seen = colab_check.as_on_colab()
    assert seen["PYTHONPATH"] == str(STAND_IN) and seen["COLAB_RELEASE_TAG"]
    assert "MPLBACKEND" not in seen and not any(name.startswith("TLHELPERS_") for name in seen)


def test_the_first_failing_cell_is_reported(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase name="Cell 0"/>'
        '<testcase name="Cell 1"><failure>#x1B[91mwrong#x1B[0m</failure></testcase>'
        '<testcase name="Cell 2"><failure>later</failure></testcase></testsuite></testsuites>'
    )
    assert first_failure(report) == (3, "Cell 1\nwrong")
    report.write_text('<testsuites><testsuite><testcase name="Cell 0"/></testsuite></testsuites>')
    assert first_failure(report) == (1, "")


def notebook(*sources: str):
    cells = [new_code_cell(source, execution_count=1, outputs=[new_output("stream", text="1\n")]) for source in sources]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def test_a_stable_output_that_changes_fails(tmp_path):
    python = Path(sys.executable)
    stable = "# NBVAL_CHECK_OUTPUT\nprint({})"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    cells, failure = run_notebook(
        python, notebook("import google.colab\nprint(5)", stable.format(1), stable.format(2)), tmp_path / "a.ipynb"
    )
    assert cells == 3 and "Cell 2" in failure and "Cell 1" not in failure


@pytest.mark.parametrize(
    ("printed", "fetches", "complaint"),
    [
        ("Fetched the course (checked) in 2 s\nhelpers HOME True\n", True, ""),
        ("helpers HOME True\n", False, ""),
        ("helpers HOME True\n", True, "should say that it fetched"),
        ("Fetched the course (checked) in 2 s\nhelpers HOME True\n", False, "should not say that it fetched"),
        (
            "Fetched the course (checked) in 2 s\nhelpers /elsewhere/__init__.py True\n",
            True,
            "tlhelpers should come from",
        ),
        ("helpers HOME False\n", False, "tlhelpers should come from"),
    ],
)
def test_where_a_notebook_that_was_opened_alone_got_its_helpers(
    monkeypatch, tmp_path, content, printed, fetches, complaint
):
    home = content.resolve() / "course" / "checked" / "tlhelpers" / "__init__.py"
    monkeypatch.setattr(colab_check, "run", lambda command, env: printed.replace("HOME", str(home)))
    alone = notebook("import tlhelpers as tl")
    alone.cells[0].metadata["tags"] = ["setup"]
    found = open_alone(Path("python"), alone, tmp_path / "Colab Notebooks" / "a.ipynb", content, fetches)
    assert complaint in found and bool(found) == bool(complaint)
    assert len(nbformat.read(tmp_path / "Colab Notebooks" / "a.ipynb", as_version=4).cells) == 2


@pytest.mark.parametrize(
    ("place", "failure"),
    [("drive/MyDrive/x/head.pt", ""), ("checkpoints/head.pt", "Drive: none"), ("elsewhere.pt", "Drive: none")],
)
def test_checkpoints_must_land_on_drive(monkeypatch, content, place, failure):
    lesson = notebook("keep_on_drive = False\nprint(1)")

    def run(python, changed, where):
        assert changed.cells[0].source.startswith("keep_on_drive = True\n")
        (content / place).parent.mkdir(parents=True, exist_ok=True)
        (content / place).touch()
        return 1, ""

    monkeypatch.setattr(colab_check, "run_notebook", run)
    cells, found = colab_check.run_on_drive(Path("python"), lesson, content)
    assert failure in found and bool(found) == bool(failure)


def test_the_drive_switch_is_in_one_lesson():
    lessons = [
        path.name[:2]
        for path in (ROOT / "lessons").glob("*.py")
        if colab_check.DRIVE_SWITCH in path.read_text(encoding="utf-8")
    ]
    assert lessons == ["06"]


def refuse():
    raise CheckError("the kernel died")


@pytest.mark.parametrize(
    ("attempts", "packages", "status", "said"),
    [
        ([("00", lambda: (7, ""))], ["a==1"], 0, "passed"),
        ([("00", lambda: (7, "Cell 3\nwrong")), ("01", lambda: (7, ""))], ["a==1"], 1, "Cell 3\n    wrong"),
        ([("00", refuse)], ["a==1"], 1, "the kernel died"),
        ([("00", lambda: (7, ""))], ["a==2"], 1, "changed by the notebooks: a==1, a==2"),
    ],
    ids=["well", "failure", "no result", "installs"],
)
def test_the_exit_code_and_the_table(monkeypatch, capsys, attempts, packages, status, said):
    lists = iter([["a==1"], packages])
    monkeypatch.setattr(colab_check, "make_environment", lambda *a: Path("python"))
    monkeypatch.setattr(colab_check, "installed", lambda python: next(lists))
    monkeypatch.setattr(colab_check, "publish", lambda folder: ("file:///x", folder))
    monkeypatch.setattr(colab_check, "generate", lambda *a: {})
    monkeypatch.setattr(colab_check, "tasks", lambda *a: attempts)
    assert colab_check.main(["colab", "--keep"]) == status
    printed = capsys.readouterr().out
    assert said in printed
    folder = Path(re.search(r"The notebooks are in (.+)", printed)[1])
    assert not folder.is_relative_to(ROOT)  # there, a notebook would find the course without fetching it
    (folder / "pytest.ini").unlink()
    folder.rmdir()


def test_the_copies_asked_for():
    parsed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(colab_check, "check", lambda options, folder: parsed.append(options) or 0)
        for arguments in (["colab"], ["oldest", "--solutions"], ["colab", "--learner", "--only", "02"]):
            assert colab_check.main(arguments) == 0
    assert [options.copies for options in parsed] == [[False, True], [True], [False]]
    assert isinstance(parsed[0], argparse.Namespace) and parsed[2].only == "02"
