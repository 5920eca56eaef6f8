"""Read a lesson source (lessons/NN_name.py, jupytext py:percent) and turn it into its two notebooks.

Nothing is executed here: text goes in, notebooks without outputs come out. build_notebooks.py runs them.
README.md, "Edit a lesson", describes the source format.
"""

import re
from pathlib import Path
from textwrap import dedent

import nbformat
from course_address import ROOT, SETUP_CELL, colab_badge, course_address, setup_cell
from lesson_cells import Cell, LessonError, read_cells
from lesson_quiz import QUESTION, folded, is_call, quiz_section, read_quiz
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

LESSONS, NOTEBOOKS = ROOT / "lessons", ROOT / "notebooks"

NOTEBOOK_METADATA = {
    "accelerator": "GPU",
    "colab": {"gpuType": "T4", "provenance": []},
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}


def split_exercise(cell: Cell, where: str) -> tuple[str, str, str]:
    """An exercise cell as (what the learner gets, what the solved cell says, the solution lines alone)."""
    learner, solved, answer = [], [], []
    part = "both"
    order = {"both": "solution", "solution": "stub", "stub": "end"}
    for number, line in enumerate(cell.source.splitlines(), start=cell.line + 1):
        marker = re.match(r"\s*# --- (\w+)\s*$", line)
        if marker:
            if marker[1] != order[part]:
                raise LessonError(f"{where}:{number}: '# --- {order[part]}' expected here, found '# --- {marker[1]}'")
            part = {"solution": "solution", "stub": "stub", "end": "both"}[marker[1]]
        elif part == "stub":
            stub = re.match(r"(\s*)# ?(.*)$", line)
            if not stub and line.strip():
                raise LessonError(
                    f"{where}:{number}: every line of a stub starts with '# ', this one does not: {line}\n"
                    "Or is '# --- end' missing before it?"
                )
            learner.append((stub[1] + stub[2]).rstrip() if stub else "")
        else:
            solved.append(line)
            (answer if part == "solution" else learner).append(line)
    if part != "both":
        raise LessonError(f"{where}:{cell.line}: the exercise ends without '# --- {order[part]}'")
    if not any(line.strip() for line in answer):
        raise LessonError(f"{where}:{cell.line}: this exercise has no solution (lines after '# --- solution')")
    if not set(learner) - set(solved):
        raise LessonError(f"{where}:{cell.line}: this exercise has no stub (commented lines after '# --- stub')")
    return "\n".join(learner), "\n".join(solved), dedent("\n".join(answer)).strip("\n")


def check_lesson(path: Path, cells: list[Cell]) -> None:
    """Raise a LessonError for what a reader would trip over; hygiene tests look at the built notebooks."""
    number = path.name[:2]
    if not re.fullmatch(r"\d\d_[a-z0-9_]+\.py", path.name):
        raise LessonError(f"{path.name}: a lesson is named like 02_feature_extraction.py")
    first = cells[0]
    if first.kind != "markdown" or not first.source.startswith(f"# {number} · "):
        raise LessonError(f"{path.name}:{first.line}: the first cell is markdown and starts with '# {number} · Title'")
    for token in ("{{badge}}", "{{time}}"):
        if token not in first.source.splitlines():
            raise LessonError(f"{path.name}:{first.line}: the first cell needs {token} on a line of its own")
    setup = [cell for cell in cells if "setup" in cell.tags]
    if len(setup) != 1:
        raise LessonError(f"{path.name}: exactly one cell is tagged setup, found {len(setup)}")
    if setup[0].source.strip() != SETUP_CELL:
        raise LessonError(
            f"{path.name}:{setup[0].line}: the setup cell differs from the common one; "
            "`python scripts/build_notebooks.py --print-setup` shows it"
        )
    for cell in cells:
        if re.search(r"^\s*# --- \w+\s*$", cell.source, re.MULTILINE) and "exercise" not in cell.tags:
            raise LessonError(f"{path.name}:{cell.line}: '# --- ' lines belong into a cell with tags=[\"exercise\"]")
        if "tl.check(" in cell.source and cell.kind == "code" and "exercise" not in cell.tags:
            raise LessonError(f'{path.name}:{cell.line}: tl.check stands outside a cell with tags=["exercise"]')
    for index, cell in enumerate(cell for cell in cells if "exercise" in cell.tags):
        exercise = f"{number}.{index + 1}"
        if not re.search(rf'tl\.check\(\s*"{exercise}"', cell.source):
            raise LessonError(f'{path.name}:{cell.line}: this exercise needs its check, tl.check("{exercise}", …)')
        after = cells[cells.index(cell) + 1 : cells.index(cell) + 2]
        if not after or "hints" not in after[0].tags:
            raise LessonError(f'{path.name}:{cell.line}: the cell after an exercise holds its hints, tags=["hints"]')
        for wanted in ("<summary>Hint 1</summary>", "<summary>Hint 2</summary>"):
            if wanted not in after[0].source:
                raise LessonError(f"{path.name}:{after[0].line}: '{wanted}' is missing; two hints at least")
    read_quiz(cells, path.name)


def fill_title(source: str, stem: str, seconds: int | None, address: tuple[str, str], solved: bool) -> str:
    """The title cell with its badge (or without, as long as there is no public address) and its measured time."""
    badge = colab_badge(f"{'notebooks/solutions' if solved else 'notebooks'}/{stem}.ipynb", address)
    time = f"Measured: about {seconds} s on two CPU cores (profile mini)" if seconds else "Time: not measured yet"
    text = source.replace("{{badge}}", badge).replace("{{time}}", time)
    return re.sub(r"\n{3,}", "\n\n", text)


def lesson_notebook(path: Path, solved: bool, seconds: int | None = None, address: tuple[str, str] | None = None):
    """The notebook of one lesson, not executed.

    Args:
        path: the lesson source, lessons/NN_name.py.
        solved: True for the copy with the exercises solved, False for the learner's.
        seconds: the measured time to print under the title; None while there is none.
        address: (repo, ref) for the badge and the setup cell; from pyproject.toml by default.

    Raises:
        LessonError: the source breaks the format.
    """
    address = course_address() if address is None else address
    cells = read_cells(path)
    check_lesson(path, cells)
    # the questions, which stand last in their section, become one cell with a fold around all of them
    section = quiz_section(cells)
    asking = [i for i in section if QUESTION.search(cells[i].source)] if any(is_call(cell) for cell in cells) else []
    built, answer = [], ""
    for index, cell in enumerate(cells):
        source = cell.source
        if index in asking[1:]:
            continue
        if index == 0:
            source = fill_title(source, path.stem, seconds, address, solved)
        elif "setup" in cell.tags:
            source = setup_cell(address)
        elif "exercise" in cell.tags:
            learner, with_solution, answer = split_exercise(cell, path.name)
            source = with_solution if solved else learner
        elif "hints" in cell.tags and not solved:
            source += f"\n\n<details><summary>Solution</summary>\n\n```python\n{answer}\n```\n\n</details>"
        elif index in asking:
            source = folded(read_quiz(cells, path.name))
        new_cell = new_markdown_cell if cell.kind == "markdown" else new_code_cell
        metadata = {"tags": cell.tags} if cell.tags else {}
        built.append(new_cell(source, id=f"lesson{path.name[:2]}-{index:03d}", metadata=metadata))
    notebook = new_notebook(cells=built, metadata=NOTEBOOK_METADATA)
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return notebook
