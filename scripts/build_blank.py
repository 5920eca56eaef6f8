"""Build the code-along copies of the lessons: build/blank/NN_name.ipynb, prose kept, some cells left to be typed live.

python scripts/build_blank.py      every lesson (`make blank`)

A cell that is worth typing is marked in lessons/NN_name.py, with the words that stand in its place:

    # %% tags=["type-along"] say="collect what trains and give only that to SGD"

In the copy such a cell holds these words as a comment, with the names that later cells need. Below it the code is
folded away, for whoever fell behind. All other cells are those of the learner's notebook, without outputs. Nothing is
run.
"""

import argparse
import json
import sys
from pathlib import Path

import jupytext
import nbformat
from built_folder import FolderError, built_folder
from cell_names import names_for_later
from lesson_source import LESSONS, ROOT, Cell, LessonError, lesson_notebook, read_cells
from nbformat.v4 import new_markdown_cell

TAG = "type-along"
COMMENT = "# type along: "
FOLD = "<details><summary>The code, if you fell behind</summary>\n\n```python\n{}\n```\n\n</details>"
FOR_TESTS = "# NBVAL_"  # a line for the test runner; nobody types it
MAX_LINES = 6  # of code in a cell that a room types; longer ones are shown and run

README = """\
# Code-along copies

The lessons with some cells left empty, to be typed together. Built by `make blank`; change nothing here for good, the
next `make blank` builds everything anew (a folder in which any file is new or changed is kept beside it).

| notebook | cells to type |
|---|--:|
{table}

- Open them here, inside the course folder: the setup cell looks for the course in the folders above.
- A cell that begins with `# type along:` says what to type, and which names the later cells need.
- Fell behind? Below each such cell the code is folded away. Copy it into the cell, run it, go on.
- Run the cells from top to bottom. "Run all" stops with a NameError where something that was not typed is needed.
- The complete lessons are in `notebooks/`, with everything solved in `notebooks/solutions/`.
"""


def marks(path: Path, cells: list[Cell]) -> dict[int, str]:
    """{index of a cell to type: what it says}; raises a LessonError for a mark that cannot be kept."""
    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, {"extension": ".py", "format_name": "percent", "comment_magics": False})
    found = {}
    for index, (cell, read) in enumerate(zip(cells, notebook.cells, strict=True)):
        where, say = f"{path.name}:{cell.line}", str(read.metadata.get("say", "")).strip()
        if TAG not in cell.tags:
            if say:
                raise LessonError(f'{where}: say="…" belongs to a cell with tags=["{TAG}"]')
            continue
        others = [tag for tag in cell.tags if tag != TAG]
        if cell.kind != "code" or others:
            kind = f"a cell with the tag {others[0]}" if others else "a markdown cell"
            raise LessonError(f"{where}: {TAG} stands on {kind}; only an ordinary code cell can be typed along")
        if not say:
            raise LessonError(f'{where}: a cell to type along needs say="what to type" in its marker')
        lines = [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        if len(lines) > MAX_LINES:
            raise LessonError(f"{where}: {len(lines)} lines are too many to type along, at most {MAX_LINES}")
        found[index] = say
    if not found:
        raise LessonError(f'{path.name}: no cell is marked tags=["{TAG}"], so there is nothing to type along')
    return found


def without_test_lines(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if not line.startswith(FOR_TESTS))


def blank_notebook(path: Path, seconds: int | None = None, address: tuple[str, str] | None = None):
    """The code-along copy of one lesson; arguments and errors as of `lesson_source.lesson_notebook`."""
    say = marks(path, read_cells(path))
    notebook = lesson_notebook(path, solved=False, seconds=seconds, address=address)
    # a badge would open the complete notebook, not this copy
    title = notebook.cells[0].source.splitlines()
    notebook.cells[0].source = "\n".join(line for line in title if not line.startswith("[![Open In Colab]"))
    cells = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.source = without_test_lines(cell.source)
        cells.append(cell)
        if index in say:
            code = cell.source
            later = [other.source for other in notebook.cells[index + 1 :] if other.cell_type == "code"]
            names = names_for_later(code, later)
            cell.source = COMMENT + say[index] + (f"\n# later cells need: {', '.join(names)}" if names else "") + "\n"
            cells.append(new_markdown_cell(FOLD.format(code), id=f"{cell.id}-code"))
    notebook.cells = cells
    nbformat.validate(notebook)
    return notebook


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lessons", type=Path, default=LESSONS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "blank", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    times_file = options.lessons / "times.json"
    times = json.loads(times_file.read_text(encoding="utf-8")) if times_file.exists() else {}
    rows = []
    try:
        with built_folder(options.out, "blank") as new:
            for source in sorted(options.lessons.glob("[0-9][0-9]_*.py")):
                notebook = blank_notebook(source, times.get(source.stem))
                nbformat.write(notebook, new / f"{source.stem}.ipynb")
                count = sum(TAG in cell.metadata.get("tags", []) for cell in notebook.cells)
                rows.append(f"| [{source.stem}]({source.stem}.ipynb) | {count} |")
            (new / "README.md").write_text(README.format(table="\n".join(rows)), encoding="utf-8")
    except (LessonError, FolderError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(rows)} code-along copies in {options.out.parent.name}/{options.out.name}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
