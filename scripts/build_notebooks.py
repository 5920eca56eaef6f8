"""Build the learner and the solution notebook of every lesson: generate, execute, normalise, write.

python scripts/build_notebooks.py               every lesson
python scripts/build_notebooks.py --only 02     one lesson
python scripts/build_notebooks.py --times       also measure the time printed under each title
python scripts/build_notebooks.py --prose       run nothing: new prose, the outputs that are there (the same code only)
python scripts/build_notebooks.py --check       build nothing; fail when a committed notebook is stale
"""

import argparse
import base64
import io
import json
import math
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from course_address import AddressError, course_address, stamped_readme
from lesson_quiz import read_quiz, write_quizzes
from lesson_source import LESSONS, NOTEBOOK_METADATA, NOTEBOOKS, SETUP_CELL, LessonError, lesson_notebook, read_cells
from notebook_hygiene import LIVE, breaches, code_cells, tagged

CELL_TIMEOUT = 1200  # seconds; a lesson as a whole should stay under 60, but a busy machine is no reason to fail
TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class BuildError(Exception):
    """A cell failed. The message names the notebook and shows the cell."""


def execute(notebook, folder: Path, name: str) -> float:
    """Run a notebook in place, as a learner would from `folder`; returns the seconds it took, kernel start included."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    # The same figures and numbers wherever the notebooks are built: bundled data, no graphics card, two threads.
    settings = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "0"}
    # without these two: inline figures, and the profile a computer without a graphics card gets by itself
    inherited = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "TLHELPERS_PROFILE")}
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(folder)}},
    )
    start = time.perf_counter()
    try:
        client.execute(env={**inherited, **settings})
    except (CellExecutionError, CellTimeoutError) as error:
        raise BuildError(f"{name}: a cell failed\n{TERMINAL_COLOUR.sub('', str(error)).strip()}") from None
    return time.perf_counter() - start


def smaller_png(encoded: str) -> str:
    """The same figure with 256 colours: a third of the size, and no eye sees it. Input and result are base64."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode() + "\n"


def normalise(notebook) -> None:
    """Keep what a reader sees, drop what differs from run to run."""
    notebook.metadata = dict(NOTEBOOK_METADATA)
    for count, cell in enumerate(code_cells(notebook), start=1):
        cell.metadata.pop("execution", None)
        cell.execution_count = count
        for output in cell.outputs:
            for kind in LIVE:  # a widget needs its kernel: what stays are its picture and its text
                output.get("data", {}).pop(kind, None)
            if output.output_type == "execute_result":
                output.execution_count = count
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller_png(output.data["image/png"])


def take_outputs(notebook, target: Path, name: str) -> None:
    """Give a notebook the outputs of the one that is there, so that a change of prose does not draw every figure anew.

    Raises BuildError when the code is not the same, cell by cell: then it has to run. The setup cell may differ: with
    another public address it prints the same here.
    """
    present = code_cells(nbformat.read(target, as_version=4)) if target.exists() else []
    wanted = code_cells(notebook)
    same = [cell.source for cell in present if not tagged(cell, "setup")]
    if same != [cell.source for cell in wanted if not tagged(cell, "setup")] or len(present) != len(wanted):
        raise BuildError(f"{name}: its code has changed, so it has to run: leave out --prose")
    for cell, old in zip(wanted, present, strict=True):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count


def build(source: Path, out: Path, times: dict[str, int], measure: bool, prose: bool = False) -> int:
    """Write out/NAME.ipynb and out/solutions/NAME.ipynb; returns how many hygiene rules they break, and prints them.

    With `measure`, the seconds the solution copy took go into `times` and under the title of both copies. With `prose`,
    nothing runs, see `take_outputs`.
    """
    broken = 0
    for solved in (True, False):
        target = (out / "solutions" if solved else out) / f"{source.stem}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        name = f"{'solutions/' if solved else ''}{target.name}"
        notebook = lesson_notebook(source, solved, times.get(source.stem))
        if prose:
            take_outputs(notebook, target, name)
            seconds = 0.0
        else:
            seconds = execute(notebook, target.parent, name)
        if solved and measure:
            times[source.stem] = 5 * math.ceil(seconds / 5)
            notebook.cells[0].source = lesson_notebook(source, solved, times[source.stem]).cells[0].source
        if not prose:  # what is there already went through it once
            normalise(notebook)
        temporary = target.with_suffix(".tmp")
        nbformat.write(notebook, temporary)
        os.replace(temporary, target)
        print(f"{name}: {len(notebook.cells)} cells, {seconds:.0f} s, {target.stat().st_size / 1e3:.0f} kB", flush=True)
        for line in breaches(notebook, solved):
            broken += 1
            print(f"  {line}", file=sys.stderr)
    return broken


def stale(source: Path, out: Path, seconds: int | None) -> list[str]:
    """What differs between the committed notebooks of one lesson and what its source says now, in words."""
    found = []
    for solved in (True, False):
        target = (out / "solutions" if solved else out) / f"{source.stem}.ipynb"
        name = target.relative_to(out.parent).as_posix()
        if not target.exists():
            found.append(f"{name} is missing")
            continue
        wanted, present = lesson_notebook(source, solved, seconds), nbformat.read(target, as_version=4)
        if wanted.metadata != present.metadata:
            found.append(f"{name}: the notebook metadata differ")
        if len(wanted.cells) != len(present.cells):
            found.append(f"{name}: {len(present.cells)} cells, the source has {len(wanted.cells)}")
            continue
        for index, (a, b) in enumerate(zip(wanted.cells, present.cells, strict=True)):
            if (a.cell_type, a.source, a.id, a.metadata) != (b.cell_type, b.source, b.id, b.metadata):
                found.append(f"{name}: cell {index} differs ({a.source.splitlines()[0][:60]})")
                break
    return found


def extra(sources: list[Path], out: Path) -> list[str]:
    """Notebooks that no lesson source stands behind."""
    stems = {source.stem for source in sources}
    found = [path for path in sorted([*out.glob("*.ipynb"), *out.glob("solutions/*.ipynb")]) if path.stem not in stems]
    return [f"{path.relative_to(out.parent).as_posix()} has no lesson source" for path in found]


def stamp(readme: Path, sources: list[Path], check: bool) -> list[str]:
    """Write the buttons of README.md (which may be absent: the tests build into empty folders); what was stale."""
    if not readme.exists():
        return []
    text = readme.read_text(encoding="utf-8")
    wanted = stamped_readme(text, [f"notebooks/{source.stem}.ipynb" for source in sources], course_address())
    if text != wanted and not check:
        readme.write_text(wanted, encoding="utf-8")
    return ["README.md: the Colab and Binder buttons differ"] if text != wanted else []


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NN", help="lessons whose file name starts with this, e.g. 02")
    parser.add_argument("--times", action="store_true", help="measure the time under each title, on an idle machine")
    parser.add_argument("--prose", action="store_true", help="only prose has changed: keep the outputs that are there")
    parser.add_argument("--check", action="store_true", help="fail when a committed notebook is stale; run nothing")
    parser.add_argument("--print-setup", action="store_true", help="print the setup cell every lesson has")
    parser.add_argument("--lessons", type=Path, default=LESSONS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=NOTEBOOKS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.print_setup:
        print(SETUP_CELL)
        return 0
    if options.prose and options.times:
        parser.error("--times runs the lessons and --prose does not: choose one")
    every_source = sorted(options.lessons.glob("[0-9][0-9]_*.py"))
    sources = [source for source in every_source if source.name.startswith(options.only)]
    if not sources:
        print(f"no lesson in {options.lessons.name}/ starts with '{options.only}'", file=sys.stderr)
        return 2
    readme = options.lessons.parent / "README.md"
    times_file = options.lessons / "times.json"
    times = json.loads(times_file.read_text(encoding="utf-8")) if times_file.exists() else {}
    quizzes = options.lessons.parent / "tlhelpers" / "quizzes"
    try:
        asked = {source.name[:2]: read_quiz(read_cells(source), source.name) for source in every_source}
        if options.check:
            found = [line for source in sources for line in stale(source, options.out, times.get(source.stem))]
            found += extra(every_source, options.out) + stamp(readme, every_source, check=True)
            found += write_quizzes(asked, quizzes, check=True)
            for line in found:
                print(line, file=sys.stderr)
            if found:
                print("Build them again: make notebooks", file=sys.stderr)
            return 1 if found else 0
        stamp(readme, every_source, check=False)
        write_quizzes(asked, quizzes, check=False)  # before a lesson runs: its last cells ask them
        broken = 0
        for source in sources:
            broken += build(source, options.out, times, options.times, options.prose)
            if options.times:
                times_file.write_text(json.dumps(times, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except (AddressError, LessonError, BuildError) as error:
        print(error, file=sys.stderr)
        return 1
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
