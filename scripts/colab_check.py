"""Run every notebook as Colab would: an environment with Colab's versions, each notebook opened alone.

python scripts/colab_check.py colab              Colab's packages and Python (scripts/stand_in/colab-versions.txt)
python scripts/colab_check.py oldest             the oldest Python and packages that pyproject.toml allows
python scripts/colab_check.py colab --only 02    one lesson; also --solutions or --learner instead of both copies
python scripts/colab_check.py oldest --tests     the unit tests there too
python scripts/colab_check.py colab --keep       leave the folder with the notebooks for a look

What is committed is checked, not what is being edited. The environments stay in build/check/ for the next time.
Colab itself is not needed: a stand-in for its package is in scripts/stand_in/. docs/colab.md says what that leaves out.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import nbformat
from colab_environment import ROOT, CheckError, installed, make_environment, run

STAND_IN = ROOT / "scripts" / "stand_in"
REF = "checked"  # the branch the notebooks fetch
# nbval: compare only the outputs marked for it. Long limits, in seconds: a busy machine is no reason to fail.
LAX = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=1200", "--nbval-kernel-startup-timeout=300"]
DRIVE_SWITCH = "keep_on_drive = False"
COLOUR = re.compile(r"(\x1b|#x1B)\[[0-9;]*m")  # the second is how pytest writes the first into XML
ROW = "{:44} {:>5} {:>7}  {}"

# Runs a notebook (first argument) in a folder (second) and prints what its cells printed.
RUN_AND_PRINT = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.execute(notebook, cwd=sys.argv[2], timeout=600, startup_timeout=300, kernel_name="python3")
print("".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])))
"""
WHERE_FROM = 'print("helpers", tl.__file__, "google.colab" in sys.modules)'


def publish(folder: Path, root: Path = ROOT) -> tuple[str, Path]:
    """Clone what is committed: (an address to fetch it from, a working copy). Says what is not committed."""
    git = ["git", "-C", root]
    changed = [line[3:] for line in run([*git, "status", "--porcelain", "--untracked-files=no"]).splitlines()]
    if changed:
        more = [f"{len(changed) - 5} more"] if len(changed) > 5 else []
        print("Not committed, so not checked:", ", ".join(changed[:5] + more))
    run(["git", "clone", "-q", "--bare", root, folder / "course.git"])
    run(["git", "-C", folder / "course.git", "branch", "-f", REF, run([*git, "rev-parse", "HEAD"]).strip()])
    run(["git", "clone", "-q", "-b", REF, folder / "course.git", folder / "source"])
    return (folder / "course.git").as_uri(), folder / "source"


def with_outputs(notebook, committed):
    """Give a generated notebook the outputs of the committed one, so that nbval has something to compare with.

    CheckError when another cell than the setup cell differs: then the outputs belong to other code.
    """
    for cell, old in zip(notebook.cells, committed.cells, strict=False):
        if cell.cell_type != "code" or "setup" in cell.metadata.get("tags", []):
            continue
        if old.source != cell.source:
            raise CheckError(f"cell {cell.id} differs: commit what `make notebooks` builds, then check again")
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    return notebook


def generate(source: Path, address: str, only: str, copies: list[bool]) -> dict:
    """{"solutions/02_name": notebook} of the working copy, with the setup cell of a course that lives at `address`."""
    sys.path.insert(0, str(source / "scripts"))  # the committed builder, not the one that is being edited
    from lesson_source import lesson_notebook

    times = json.loads((source / "lessons" / "times.json").read_text(encoding="utf-8"))
    found = {}
    for path in sorted((source / "lessons").glob(f"{only}*.py")):
        for solved in copies:
            name = f"{'solutions/' if solved else ''}{path.stem}"
            notebook = lesson_notebook(path, solved, times.get(path.stem), (address, REF))
            committed = nbformat.read(source / "notebooks" / f"{name}.ipynb", as_version=4)
            try:
                found[name] = with_outputs(notebook, committed)
            except CheckError as error:
                raise CheckError(f"notebooks/{name}.ipynb, {error}") from None
    if not found:
        raise CheckError(f"no lesson starts with '{only}'")
    return found


def as_on_colab() -> dict[str, str]:
    """The environment variables of a kernel on Colab without a GPU."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MPLBACKEND", "TORCH_HOME", "JUPYTER_PATH")
    inherited = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith("TLHELPERS_")}
    colab = {"PYTHONPATH": str(STAND_IN), "COLAB_RELEASE_TAG": "stand-in", "CUDA_VISIBLE_DEVICES": ""}
    return {**inherited, **colab, "PYTHONHASHSEED": "0", "JUPYTER_PREFER_ENV_PATH": "1"}


def open_alone(python: Path, notebook, place: Path, content: Path, fetches: bool) -> str:
    """Run the setup cell of a notebook that lies at `place`, in the folder `content`; returns "" or what was wrong."""
    setup = next(cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", []))
    short = nbformat.v4.new_notebook(cells=[setup, nbformat.v4.new_code_cell(WHERE_FROM)], metadata=notebook.metadata)
    place.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(short, place)
    printed = run([python, "-c", RUN_AND_PRINT, place, content], env=as_on_colab())
    said = re.search(r"^Fetched the course .* in \d+ s$", printed, re.MULTILINE)
    if bool(said) != fetches:
        return f"the setup cell should {'' if fetches else 'not '}say that it fetched the course:\n{printed}"
    print(said[0] if said else "Nothing to fetch: the course is there")
    home = content.resolve() / "course" / REF / "tlhelpers" / "__init__.py"
    return "" if f"helpers {home} True" in printed else f"tlhelpers should come from {home}:\n{printed}"


def first_failure(report: Path) -> tuple[int, str]:
    """(number of cells, text of the first failure or "") from a JUnit report."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    for case in cases:
        for kind in ("failure", "error"):
            if (found := case.find(kind)) is not None:
                return len(cases), f"{case.get('name')}\n{COLOUR.sub('', found.text or found.get('message', ''))}"
    return len(cases), ""


def run_pytest(command: list, folder: Path, report: Path, environment: dict) -> tuple[int, str]:
    """(number of tests, first failure or "")."""
    command = [str(part) for part in [*command, f"--junitxml={report}"]]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    count, failure = first_failure(report) if report.exists() else (0, "")
    return count, failure or ("" if done.returncode == 0 else done.stdout[-3000:] + done.stderr[-1000:])


def run_notebook(python: Path, notebook, place: Path) -> tuple[int, str]:
    """Every cell of a notebook through nbval, in the folder it lies in: (number of cells, first failure or "")."""
    nbformat.write(notebook, place)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *LAX, place.name]
    return run_pytest(command, place.parent, place.with_suffix(".xml"), as_on_colab())


def ways(python: Path, notebook, folder: Path) -> list[tuple[str, Callable]]:
    """The ways in which a notebook comes to Colab. Its working folder, /content there, starts empty each time."""
    github, upload, drive = (folder / name for name in ("github", "upload", "drive"))
    own_copy = drive / "drive" / "MyDrive" / "Colab Notebooks" / "Copy of a lesson.ipynb"
    for content in (github, upload, drive):
        content.mkdir()
    return [
        ("opened from GitHub", lambda: open_alone(python, notebook, folder / "first.ipynb", github, True)),
        ("a second time in that session", lambda: open_alone(python, notebook, folder / "second.ipynb", github, False)),
        ("uploaded alone", lambda: open_alone(python, notebook, upload / "lesson.ipynb", upload, True)),
        ("copied to Drive", lambda: open_alone(python, notebook, own_copy, drive, True)),
    ]


def run_on_drive(python: Path, notebook, content: Path) -> tuple[int, str]:
    """Run a notebook with its Drive switch on; its checkpoints must lie in Drive afterwards, and only there."""
    for cell in notebook.cells:
        cell.source = cell.source.replace(DRIVE_SWITCH, DRIVE_SWITCH.replace("False", "True"))
    cells, failure = run_notebook(python, notebook, content / "on_drive.ipynb")
    kept = [file.name for file in content.glob("drive/MyDrive/**/*.pt")]
    elsewhere = [file.name for file in content.glob("checkpoints/**/*.pt")]
    if not failure and (not kept or elsewhere):
        failure = f"checkpoints in Drive: {kept or 'none'}; left on the machine: {elsewhere or 'none'}"
    return cells, failure


def tasks(python: Path, notebooks: dict, folder: Path) -> list[tuple[str, Callable]]:
    """(name, function that returns (cells, failure)) for everything there is to try."""
    content, on_drive = folder / "content", folder / "content_with_drive"
    content.mkdir()
    on_drive.mkdir()
    found = [(name, lambda way=way: (2, way())) for name, way in ways(python, next(iter(notebooks.values())), folder)]
    for name, notebook in notebooks.items():
        place = content / f"{name.replace('solutions/', 'solved_')}.ipynb"
        found.append((name, lambda notebook=notebook, place=place: run_notebook(python, notebook, place)))
    for name, notebook in notebooks.items():  # last: it changes the notebook
        if any(DRIVE_SWITCH in cell.source for cell in notebook.cells if cell.cell_type == "code"):
            run_it = lambda notebook=notebook: run_on_drive(python, notebook, on_drive)  # noqa: E731
            return [*found, (f"{name}, files on Drive", run_it)]
    return found


def check(options: argparse.Namespace, folder: Path) -> int:
    """Try everything, print one line each; returns how many failed."""
    python = make_environment(options.kind, options.python, options.torch)
    before = installed(python)
    print(", ".join(line for line in before if re.match(r"(torch|torchvision|ipython|ipywidgets|numpy)==", line)))
    address, source = publish(folder)
    todo = tasks(python, generate(source, address, options.only, options.copies), folder)
    if options.tests:
        todo.append(("unit tests", lambda: unit_tests(python, source)))
    failed = 0
    print(ROW.format("notebook", "cells", "seconds", "result"), flush=True)
    for name, attempt in todo:
        start = time.perf_counter()
        try:
            cells, failure = attempt()
        except CheckError as error:
            cells, failure = 0, str(error)
        failed += bool(failure)
        seconds = f"{time.perf_counter() - start:.0f}"
        print(ROW.format(name, cells, seconds, "FAILED" if failure else "passed"), flush=True)
        if failure:
            print("    " + failure.strip().replace("\n", "\n    "), flush=True)
    changed = sorted(set(before) ^ set(installed(python)))
    print("Packages changed by the notebooks:", ", ".join(changed) or "none")
    return failed + bool(changed)


def unit_tests(python: Path, source: Path) -> tuple[int, str]:
    """The unit tests and docstring examples of the working copy: (how many, first failure or "")."""
    environment = {**as_on_colab(), "PYTHONPATH": str(source), "MPLBACKEND": "Agg"}
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadscope", "tests", "tlhelpers"]
    return run_pytest([python, *command], source, source.parent / "tests.xml", environment)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["colab", "oldest"])
    parser.add_argument("--only", default="", metavar="NN", help="lessons whose file name starts with this, e.g. 02")
    copies = parser.add_mutually_exclusive_group()
    parser.set_defaults(copies=[False, True])
    for name, wanted in (("learner", [False]), ("solutions", [True]), ("both", [False, True])):
        copies.add_argument(f"--{name}", dest="copies", action="store_const", const=wanted)
    parser.add_argument("--python", default="", metavar="PATH", help="make the environment from this Python")
    parser.add_argument("--torch", default="", metavar="NAME", help="which build, e.g. cpu: uv's --torch-backend")
    parser.add_argument("--tests", action="store_true", help="run the unit tests in that environment too")
    parser.add_argument("--keep", action="store_true", help="do not delete the folder with the notebooks")
    options = parser.parse_args(arguments)
    # Outside the course: a notebook looks for tlhelpers/ in the folders above it, and would find it there.
    folder = Path(tempfile.mkdtemp(prefix="course-check-")).resolve()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # no settings from folders above
    try:
        failed = check(options, folder)
    except CheckError as error:
        print(error, file=sys.stderr)
        failed = 1
    finally:
        if options.keep:
            print(f"The notebooks are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
