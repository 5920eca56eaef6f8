"""Build the code-along copies of the lessons: build/blank/NN_name.ipynb, prose kept, some cells left to be typed live.

python scripts/build_blank.py      every lesson (`make blank`)

A cell that is worth typing is marked in lessons/NN_name.py, with the words that stand in its place:

    # %% tags=["type-along"] say="collect what trains and give only that to SGD"

In the copy such a cell holds these words as a comment, with the names that later cells need. Below it the code is
folded away, for whoever fell behind. All other cells are those of the learner's notebook, without outputs. Nothing is
run.
"""

import argparse
import ast
import json
import shutil
import sys
from pathlib import Path

import jupytext
import nbformat
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
next `make blank` builds everything anew (a folder in which somebody has typed is kept beside it).

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


def stored_names(tree: ast.AST) -> list[str]:
    """Names that the top level of a cell sets, in order; what functions and comprehensions keep to themselves is left
    out."""
    names = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.alias):
            names.append((node.asname or node.name).partition(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif not isinstance(node, (ast.Lambda, ast.comprehension)):
            names += stored_names(node)
    return list(dict.fromkeys(names))


def needed_names(code: str) -> set[str]:
    """Names that a cell reads before it sets them itself."""
    needed, known = set(), set()
    for statement in ast.parse(code).body:
        nodes = list(ast.walk(statement))
        added_to = {id(node.target) for node in nodes if isinstance(node, ast.AugAssign)}  # x += 1 reads x as well
        read, inside = set(), {node.arg for node in nodes if isinstance(node, ast.arg)}
        for node in nodes:
            if isinstance(node, ast.Name) and (isinstance(node.ctx, ast.Load) or id(node) in added_to):
                read.add(node.id)
            # what a loop, a function or a comprehension sets for itself does not come from above
            elif isinstance(node, ast.Name) and not isinstance(statement, ast.Assign):
                inside.add(node.id)
            elif isinstance(node, ast.comprehension):
                inside |= {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
        needed |= read - inside - known
        known |= set(stored_names(ast.Module([statement], [])))
    return needed


def names_for_later(code: str, later: list[str]) -> list[str]:
    """What this cell sets and a later cell reads before anything else sets it again: names, and places such as
    results["SGD"]."""
    tree = ast.parse(code)
    targets = [node for part in ast.walk(tree) if isinstance(part, ast.Assign) for node in part.targets]
    places = [node for node in targets if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)]
    owners = {ast.unparse(node).replace("'", '"'): node.value.id for node in places}
    owners |= {name: name for name in stored_names(tree)}
    waiting, wanted = set(owners.values()), set()
    for cell in later:
        wanted |= waiting & needed_names(cell)
        waiting -= set(stored_names(ast.parse(cell)))
    return [name for name, owner in owners.items() if owner in wanted]


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


def used(file: Path) -> bool:
    """Has somebody worked in this copy: run a cell, or typed into one?"""
    cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    typed = [line for cell in cells if TAG in cell.metadata.get("tags", []) for line in cell.source.splitlines()]
    ran = any(cell.execution_count or cell.outputs for cell in cells)
    return ran or any(line.strip() and not line.startswith("#") for line in typed)


def put_in_place(new: Path, out: Path) -> None:
    """Let the finished folder take its place; one in which somebody has worked is kept under another name."""
    if out.exists() and any(used(file) for file in out.glob("*.ipynb")):
        number = 1
        while (kept := out.with_name(f"{out.name}-kept-{number}")).exists():
            number += 1
        out.rename(kept)
        print(f"Somebody has worked in {out.name}/: it is now {kept.parent.name}/{kept.name}/")
    shutil.rmtree(out, ignore_errors=True)
    new.rename(out)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lessons", type=Path, default=LESSONS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "blank", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    times_file = options.lessons / "times.json"
    times = json.loads(times_file.read_text(encoding="utf-8")) if times_file.exists() else {}
    new = options.out.with_name(options.out.name + ".tmp")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    rows = []
    try:
        for source in sorted(options.lessons.glob("[0-9][0-9]_*.py")):
            notebook = blank_notebook(source, times.get(source.stem))
            nbformat.write(notebook, new / f"{source.stem}.ipynb")
            count = sum(TAG in cell.metadata.get("tags", []) for cell in notebook.cells)
            rows.append(f"| [{source.stem}]({source.stem}.ipynb) | {count} |")
        (new / "README.md").write_text(README.format(table="\n".join(rows)), encoding="utf-8")
        put_in_place(new, options.out)
    except LessonError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(new, ignore_errors=True)
    print(f"{len(rows)} code-along copies in {options.out.parent.name}/{options.out.name}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
