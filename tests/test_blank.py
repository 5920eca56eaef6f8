"""Code-along copies (scripts/build_blank.py): what is emptied can be put back, a mark in a wrong place is refused."""

import functools
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import build_blank
import lesson_source
import nbformat
import pytest
from build_blank import TAG, blank_notebook, without_test_lines
from cell_names import names_for_later, read_cell
from lesson_source import LESSONS, LessonError, lesson_notebook
from nbformat.v4 import new_code_cell, new_output

SOURCES = sorted(LESSONS.glob("[0-9][0-9]_*.py"))
FOLDED = re.compile(
    r"<details><summary>The code, if you fell behind</summary>\n\n```python\n(.*)\n```\n\n</details>", re.S
)

LESSON = f"""\
# %% [markdown]
# # 09 · Tiny
#
# {{{{badge}}}}
#
# {{{{time}}}}

# %% tags=["setup"]
{lesson_source.SETUP_CELL}

# %% tags=["type-along"] say="add two numbers"
# NBVAL_CHECK_OUTPUT
total = 1 + 2  # by hand
print(total)

# %%
# NBVAL_CHECK_OUTPUT
print(total * 2)

# %% tags=["exercise"]
# --- solution
secret = 4711
# --- stub
# secret = ...
# --- end
tl.check("09.1", secret)

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
# </details>
# <details><summary>Hint 2</summary>
# </details>
"""
MARK = '# %% tags=["type-along"] say="add two numbers"'


@pytest.fixture
def source(tmp_path) -> Path:
    (tmp_path / "lessons").mkdir()
    file = tmp_path / "lessons" / "09_tiny.py"
    file.write_text(LESSON, encoding="utf-8")
    return file


def build(source: Path) -> int:
    return build_blank.main(["--lessons", str(source.parent), "--out", str(source.parent.parent / "build" / "blank")])


def put_back(notebook) -> list[str]:
    """The code of a blank copy when every folded cell is copied into the empty one above it."""
    codes = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            codes.append(cell.source)
        elif folded := FOLDED.fullmatch(cell.source):
            codes[-1] = folded[1]
    return codes


@functools.cache
def blank_of(source: Path):
    return blank_notebook(source)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_every_lesson_has_cells_to_type_and_all_of_them_can_be_put_back(source):
    blank, learner = blank_of(source), lesson_notebook(source, solved=False)
    nbformat.validate(blank)
    assert len({cell.id for cell in blank.cells}) == len(blank.cells)
    code = [cell for cell in blank.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)

    marked = [cell for cell in code if TAG in cell.metadata.get("tags", [])]
    assert 4 <= len(marked) <= 8
    for cell in marked:
        assert cell.source.startswith("# type along: ")
        assert all(line.startswith("#") and len(line) <= 120 for line in cell.source.splitlines())
    wanted = [without_test_lines(cell.source) for cell in learner.cells if cell.cell_type == "code"]
    assert put_back(blank) == wanted
    assert [cell.source for cell in code] != wanted

    prose = [cell.source for cell in blank.cells if cell.cell_type == "markdown" and not FOLDED.fullmatch(cell.source)]
    assert prose == [cell.source for cell in learner.cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_no_solution_stands_in_a_code_cell_or_in_the_folded_code(source):
    blank, solved = blank_of(source), lesson_notebook(source, solved=True)
    everything = put_back(blank)
    answers = [cell.source for cell in solved.cells if "exercise" in cell.metadata.get("tags", [])]
    assert answers and not set(answers) & set(everything)


def undefined_names(file: Path, code: list[str]) -> str:
    file.write_text("\n".join(code), encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", file]
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.mark.skipif(not importlib.util.find_spec("ruff"), reason="ruff, which finds undefined names, is not installed")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_names_said_to_be_needed_are_all_that_later_cells_need(source, tmp_path):
    """Whoever types a cell in their own way and gives these names a value can run the rest of the notebook."""
    with_names, without = [], []
    for cell in blank_of(source).cells:
        if cell.cell_type == "code" and TAG in cell.metadata.get("tags", []):
            said = re.search(r"# later cells need: (.*)", cell.source)
            places = re.sub(r"\w+\[.*?\]", "", said[1]) if said else ""
            with_names += [f"{name} = None" for name in re.findall(r"\w+", places)]
        elif cell.cell_type == "code":
            with_names.append(cell.source)
            without.append(cell.source)
    assert "F821" not in undefined_names(tmp_path / "with_names.py", with_names)
    assert "F821" in undefined_names(tmp_path / "without.py", without)


def test_a_tiny_lesson(source, capsys):
    assert build(source) == 0
    out = source.parent.parent / "build" / "blank"
    names = [".built-files.json", "09_tiny.ipynb", "README.md", "blank"]
    assert sorted(file.name for file in out.parent.rglob("*")) == names
    assert "| [09_tiny](09_tiny.ipynb) | 1 |" in (out / "README.md").read_text(encoding="utf-8")

    cells = nbformat.read(out / "09_tiny.ipynb", as_version=4).cells
    assert cells[2].source == "# type along: add two numbers\n# later cells need: total\n"
    assert FOLDED.fullmatch(cells[3].source)[1] == "total = 1 + 2  # by hand\nprint(total)"
    assert cells[4].source == "print(total * 2)", "the line for the test runner is gone, the code stays"
    assert cells[5].source == 'secret = ...\ntl.check("09.1", secret)'
    assert "4711" not in "".join(cell.source for cell in cells if cell.cell_type == "code")


def test_no_badge_since_it_would_open_the_complete_notebook(source):
    address = ("someone/course", "v1")
    assert "colab-badge" in lesson_notebook(source, False, address=address).cells[0].source
    blank = blank_notebook(source, address=address)
    assert "colab-badge" not in blank.cells[0].source and "# 09 · Tiny" in blank.cells[0].source
    assert "someone/course" in blank.cells[1].source, "opened alone on Colab it still fetches the course"


REFUSED = {
    "setup": ('tags=["setup"]', 'tags=["setup", "type-along"] say="x"', "a cell with the tag setup"),
    "exercise": ('tags=["exercise"]', 'tags=["exercise", "type-along"] say="x"', "a cell with the tag exercise"),
    "prose": ("# %% [markdown]\n# # 09", '# %% [markdown] tags=["type-along"] say="x"\n# # 09', "a markdown cell"),
    "nothing said": (MARK, '# %% tags=["type-along"]', 'needs say="what to type"'),
    "said without the tag": (MARK, '# %% say="add"', r'say="…" belongs to a cell with tags=\["type-along"\]'),
    "too long": ("print(total)\n", "print(total)\n" * 6, "7 lines are too many to type along, at most 6"),
    "no mark at all": (MARK, "# %%", "no cell is marked"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mark_that_cannot_be_kept_is_refused_and_nothing_is_left_behind(source, capsys, case):
    old, new, message = REFUSED[case]
    assert old in LESSON
    source.write_text(LESSON.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(LessonError, match=message) as error:
        blank_notebook(source)
    line = LESSON[: LESSON.index(old)].count("\n") + 1
    if case not in ("too long", "no mark at all"):
        assert str(error.value).startswith(f"09_tiny.py:{line}: ")
    assert build(source) == 1
    assert str(error.value) in capsys.readouterr().err
    assert not list((source.parent.parent / "build").iterdir())


def test_a_failed_build_leaves_the_earlier_copies_alone(source):
    assert build(source) == 0
    source.write_text(LESSON.replace(MARK, "# %%"), encoding="utf-8")
    assert build(source) == 1
    assert (source.parent.parent / "build" / "blank" / "09_tiny.ipynb").exists()


@pytest.mark.parametrize("how", ["typed", "ran"])
def test_what_somebody_typed_is_kept(source, capsys, how):
    build(source)
    file = source.parent.parent / "build" / "blank" / "09_tiny.ipynb"
    notebook = nbformat.read(file, as_version=4)
    if how == "typed":
        notebook.cells[2].source += "total = 3"
    else:
        notebook.cells[1].outputs = [new_output("stream", text="hello")]
    nbformat.write(notebook, file)
    build(source)
    assert "build/blank-kept-1/" in capsys.readouterr().out
    assert nbformat.read(file.parent.with_name("blank-kept-1") / file.name, as_version=4) == notebook
    build(source)
    assert not file.parent.with_name("blank-kept-2").exists(), "fresh copies are simply built anew"


WORKED = {
    "an exercise is solved": lambda out: change(out, 5, 'secret = 42\ntl.check("09.1", secret)'),
    "a cell more": lambda out: change(out, 6, "my_own = 1"),
    "a note": lambda out: (out / "my_notes.md").write_text("What I saw", encoding="utf-8"),
    "photos": lambda out: [(out / "photos").mkdir(), (out / "photos" / "ant.png").write_bytes(b"ant")],
    "a file is gone": lambda out: (out / "README.md").unlink(),
    "cut short": lambda out: (out / "09_tiny.ipynb").write_text('{"cells": [', encoding="utf-8"),
}


def change(out: Path, place: int, source: str) -> None:
    notebook = nbformat.read(out / "09_tiny.ipynb", as_version=4)
    if place < 6:
        notebook.cells[place].source = source
    else:
        notebook.cells.insert(place, new_code_cell(source))
    nbformat.write(notebook, out / "09_tiny.ipynb")


@pytest.mark.parametrize("how", WORKED)
def test_whatever_is_new_or_changed_is_kept_without_having_been_run(source, how):
    build(source)
    out = source.parent.parent / "build" / "blank"
    WORKED[how](out)
    before = {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert build(source) == 0
    kept = out.with_name("blank-kept-1")
    assert {file.relative_to(kept): file.read_bytes() for file in kept.rglob("*") if file.is_file()} == before
    assert build(source) == 0 and not out.with_name("blank-kept-2").exists()


def test_a_folder_without_its_list_is_left_alone(source, capsys):
    build(source)
    out = source.parent.parent / "build" / "blank"
    (out / ".built-files.json").unlink()
    before = sorted(out.rglob("*"))
    assert build(source) == 1
    assert "was not built as blank: name another folder, or empty this one" in capsys.readouterr().err
    assert sorted(out.rglob("*")) == before


def test_what_jupyter_and_file_managers_leave_behind_is_no_work(source):
    build(source)
    out = source.parent.parent / "build" / "blank"
    (out / ".ipynb_checkpoints").mkdir()
    (out / ".ipynb_checkpoints" / "09_tiny-checkpoint.ipynb").write_text("{}", encoding="utf-8")
    (out / ".DS_Store").write_bytes(b"x")
    build(source)
    assert sorted(path.name for path in out.parent.iterdir()) == ["blank"]


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("if True:\n    a = a + 1", {"a"}),
        ("print([n for n in range(2)], n)", {"print", "range", "n"}),
        ("print([n for n in n])", {"print", "n"}),
        ("if c:\n    a = 1\nb = a", {"c", "a"}),
        ("if c:\n    a = 1\nelse:\n    a = 2\nb = a", {"c"}),
        ("for i in x:\n    total += i\n    best = i\ny = best", {"x", "total"}),
        ("with open(f) as file:\n    text = file.read()\ntext", {"open", "f"}),
        ("try:\n    a = b\nexcept E as error:\n    a = error\na", {"b", "E"}),
        ("def f(x=a):\n    y = x + b\n    return f(y)\ny", {"a", "b", "y"}),
        ("def f():\n    global n\n    n += 1", {"n"}),
        ("class A(B):\n    size = s\n    def f(self):\n        return A, k", {"B", "s", "k"}),
        ("g = lambda x: x + z", {"z"}),
        ("[y := n for n in a]\ny", {"a"}),
        ("d['x'] = 1\ndel e", {"d", "e"}),
        ("x: int = 1\nimport a.b as c, d.e\nc, d, x", {"int"}),
    ],
)
def test_names_that_a_cell_reads_before_it_sets_them(code, needed):
    assert read_cell(code).needed == needed


@pytest.mark.parametrize(
    ("code", "later", "names"),
    [
        ("a, b = 1, 2", ["print(a)"], ["a"]),
        ("a = 1", ["a = 2", "print(a)"], []),
        ("a = 1", ["a += 2"], ["a"]),
        ("import numpy as np", ["x = np.zeros(3)"], ["np"]),
        ("def f(x):\n    y = x\n    return y", ["def g():\n    return f(1)", "print(y)"], ["f"]),
        ("for n in range(3):\n    print(n)", ["for n in range(2):\n    print(n)", "[n for n in 'ab']"], []),
        ("found['two words'] = 1", ["print(found)"], ['found["two words"]']),
        ("x = [n for n in range(3)]", ["print(n, x)"], ["x"]),
        ("a, n = 1, 2", ["if True:\n    a = a + 1", "print([n for n in range(2)], n)"], ["a", "n"]),
    ],
)
def test_names_that_later_cells_need(code, later, names):
    assert names_for_later(code, later) == names
