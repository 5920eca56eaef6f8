"""The committed notebooks: up to date with their lesson sources, and fit to be shown to a learner.

The rules themselves stand in scripts/notebook_hygiene.py. That every cell runs is what `pytest --nbval-lax` checks.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import build_notebooks
import nbformat
import pytest
from lesson_source import LESSONS, NOTEBOOKS, ROOT, read_cells
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_hygiene import FOLD, RULES, breaches, tagged

SOURCES = sorted(LESSONS.glob("[0-9][0-9]_*.py"))
COPIES = [(source.stem, solved) for source in SOURCES for solved in (False, True)]
NAMES = [f"{'solutions/' if solved else ''}{stem}" for stem, solved in COPIES]


def notebook_path(stem: str, solved: bool) -> Path:
    return (NOTEBOOKS / "solutions" if solved else NOTEBOOKS) / f"{stem}.ipynb"


def test_there_are_lessons():
    assert [source.name[:2] for source in SOURCES][:3] == ["00", "01", "02"]


def test_no_notebook_is_stale(capsys):
    status = build_notebooks.main(["--check"])
    assert status == 0, capsys.readouterr().err


@pytest.mark.parametrize(("stem", "solved"), COPIES, ids=NAMES)
def test_notebook_keeps_the_rules(stem, solved):
    notebook = nbformat.read(notebook_path(stem, solved), as_version=4)
    nbformat.validate(notebook)
    assert breaches(notebook, solved) == []


@pytest.mark.parametrize(("stem", "solved"), COPIES, ids=NAMES)
def test_notebook_is_small(stem, solved):
    assert notebook_path(stem, solved).stat().st_size < 1.5e6


@pytest.mark.parametrize("stem", [source.stem for source in SOURCES])
def test_learner_copy_holds_no_solution(stem):
    """No exercise cell of the learner's copy has the code of the solved one, and no later cell needs an answer."""
    learner, solved = (nbformat.read(notebook_path(stem, copy), as_version=4).cells for copy in (False, True))
    for unsolved_cell, solved_cell in zip(learner, solved, strict=True):
        if tagged(solved_cell, "exercise"):
            answer = ast.dump(ast.parse(solved_cell.source))
            assert ast.dump(ast.parse(unsolved_cell.source)) != answer, solved_cell.source


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_lesson_source_runs_as_a_script(source):
    """On a machine with torch and no Jupyter a lesson is a script; it ends well, silent on stderr, all checks right."""
    settings = {"MPLBACKEND": "Agg", "TLHELPERS_PROFILE": "mini", "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(
        [sys.executable, source], cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stderr == ""
    for number in range(1, source.read_text(encoding="utf-8").count('tags=["exercise"]') + 1):
        assert f"[OK] {source.name[:2]}.{number}" in run.stdout


# The test part of the data is read in one cell of the whole course: in lesson 06, when everything is decided.

TAKES_A_SPLIT = {"flowers102", "MiniFlowers102", "Flowers102", "stl10", "MiniSTL10", "STL10"}


def reads_a_test_part(code: str) -> bool:
    """Whether a cell can open a split called "test", or takes a Subset of rows called test or test_..."""
    nodes = list(ast.walk(ast.parse(code)))
    calls = [
        (node, getattr(node.func, "attr", getattr(node.func, "id", ""))) for node in nodes if type(node) is ast.Call
    ]
    if any(name in TAKES_A_SPLIT for _, name in calls):
        return any(isinstance(node, ast.Constant) and node.value == "test" for node in nodes)
    rows = [part.id for call, name in calls if name == "Subset" for part in ast.walk(call) if type(part) is ast.Name]
    return any(row == "test" or row.startswith("test_") for row in rows)


def test_the_test_part_is_read_in_one_cell_of_the_course():
    readers = [
        (source.name[:2], cell.tags)
        for source in SOURCES
        for cell in read_cells(source)
        if cell.kind == "code" and reads_a_test_part(cell.source)
    ]
    assert readers == [("06", ["test-split"])]


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ('tl.flowers102(course, "test", transform=t)', True),
        ('MiniFlowers102(split="test")', True),
        ("tl.make_loader(Subset(plain, test_rows))", True),
        ('[tl.flowers102(course, part) for part in ("train", "val", "test")]', True),
        ('tl.flowers102(course, "val")', False),
        ("Subset(plain, val_rows)", False),
        ('train_rows, test_rows = parts; print(len(test_rows), "test")', False),
    ],
)
def test_reading_a_test_part_is_seen(code, reads):
    assert reads_a_test_part(code) == reads


# Each rule must be able to fail: a small notebook that keeps them all, and one way to break each.

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LICENCE = "Text: CC BY 4.0. Code: MIT."
OPTION = "<details><summary>Yes</summary>\n\nRight, because.\n\n</details>\n"
PROSE = "word " * 50


def sound_notebook():
    exercise = new_code_cell('answer = 2\ntl.check("09.1", answer)', metadata={"tags": ["exercise"]})
    exercise.outputs = [new_output("stream", text="[ ] 09.1 not attempted yet\n")]
    figure = new_code_cell("plt.show()", outputs=[new_output("display_data", data={"image/png": PIXEL})])
    hints = "".join(
        f"<details><summary>{name}</summary>\n\nx\n\n</details>\n" for name in ("Hint 1", "Hint 2", "Solution")
    )
    quiz = "## Quiz\n\n" + "".join(f"**{n}. Is it?**\n\n{OPTION}\n{OPTION}\n" for n in range(1, 5))
    cells = [
        new_markdown_cell("# 09 · Tiny\n\nMeasured: about 5 s on two CPU cores (profile mini)\n\n" + PROSE),
        new_markdown_cell("## What you will be able to do\n\n- a\n- b\n- c\n\n" + PROSE),
        figure,
        new_markdown_cell("*What the figure shows:* a line.\n\n" + PROSE),
        exercise,
        new_markdown_cell(hints, metadata={"tags": ["hints"]}),
        *[new_markdown_cell(f"## {name}\n\n{PROSE}") for name in ("Compare", "Common mistakes", "Take-aways")],
        new_markdown_cell(quiz),
        new_markdown_cell("## Further reading\n\n![a chart](chart.png)\n\n" + LICENCE),
    ]
    notebook = new_notebook(cells=cells)
    build_notebooks.normalise(notebook)
    return notebook


def replace(cell, old, new):
    assert old in cell.source
    cell.source = cell.source.replace(old, new)


def add_output(notebook, **output):
    notebook.cells[2].outputs.append(new_output(**output))


BREAKERS = {
    "executed_in_order": lambda nb: nb.cells[2].update(execution_count=7),
    "no_errors_or_warnings": lambda nb: add_output(nb, output_type="stream", name="stderr", text="warning"),
    "nothing_of_this_machine": lambda nb: add_output(nb, output_type="stream", text="saved /home/me/x.pth"),
    "lean_metadata": lambda nb: nb.metadata.update(accelerator="TPU"),
    "no_widget_is_kept": lambda nb: nb.metadata.update(widgets={}),
    "images_have_alt_text": lambda nb: replace(nb.cells[-1], "![a chart]", "![]"),
    "headings_in_order": lambda nb: replace(nb.cells[6], "## Compare", "## Compare\n\n#### Deep"),
    "small_prose": lambda nb: replace(nb.cells[3], "a line", "word " * 150),
    "small_code": lambda nb: nb.cells[2].update(source="x = 1\n" * 26 + "plt.show()"),
    "prose_between_code": lambda nb: nb.cells.insert(2, nb.cells[4]) or nb.cells.insert(2, nb.cells[5]),
    "figures_are_explained": lambda nb: replace(nb.cells[3], "*What the figure shows:*", "Look:"),
    "has_its_sections": lambda nb: replace(nb.cells[1], "- c\n", ""),
    "says_how_long": lambda nb: replace(nb.cells[0], "about 5 s", "about 65 s"),
    "quiz_explains": lambda nb: replace(nb.cells[9], "Right, because.", ""),
    "exercises_are_whole": lambda nb: replace(nb.cells[5], "Hint 2", "Help"),
    "leaves_the_environment_alone": lambda nb: nb.cells[2].update(source="!pip install torch\nplt.show()"),
}


def test_the_sound_notebook_keeps_every_rule():
    assert breaches(sound_notebook(), solved=False) == []


@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
def test_each_rule_can_fail(rule):
    notebook = sound_notebook()
    BREAKERS[rule.__name__](notebook)
    assert len(rule(notebook, False)) >= 1


@pytest.mark.parametrize(
    # the first in two pieces: this file, too, shall hold no path of a machine
    "text",
    ["/root" + "/x", "see /tmp/y.pth", "C:\\Users\\me", "/Users/me/course", "<Tensor at 0x7f12ab34cd56>"],
)
def test_traces_of_a_machine_are_seen(text):
    notebook = sound_notebook()
    add_output(notebook, output_type="stream", text=text)
    assert [line for line in breaches(notebook, solved=False) if line.startswith("nothing_of_this_machine")]


VIEW = {"version_major": 2, "version_minor": 0, "model_id": "12ab"}


@pytest.mark.parametrize(
    ("data", "broken"),
    [
        ({"application/vnd.jupyter.widget-view+json": VIEW, "text/plain": "a slider"}, "widget-view"),
        ({"application/vnd.jupyter.widget-state+json": {}, "image/png": PIXEL}, "widget-state"),
        ({"application/vnd.jupyter.widget-view+json": VIEW}, "nothing to show"),
        ({"text/plain": "a slider"}, ""),
    ],
)
def test_what_only_a_kernel_can_show_is_seen(data, broken):
    notebook = sound_notebook()
    add_output(notebook, output_type="display_data", data=data)
    found = [line for line in breaches(notebook, solved=False) if line.startswith("no_widget_is_kept")]
    assert broken in "".join(found) and bool(found) == bool(broken)


def test_a_widget_leaves_its_picture_and_its_text():
    """What the builder drops from an output, and that it drops nothing else."""
    notebook = sound_notebook()
    kept = {"image/png": PIXEL, "text/html": "<table>", "text/plain": "a slider"}
    add_output(notebook, output_type="display_data", data={"application/vnd.jupyter.widget-view+json": VIEW, **kept})
    notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    build_notebooks.normalise(notebook)
    assert breaches(notebook, solved=False) == []
    assert notebook.cells[2].outputs[-1].data.keys() == kept.keys()


def test_questions_are_folded_below_their_buttons():
    notebook = sound_notebook()
    questions = notebook.cells[9].source.removeprefix("## Quiz\n\n")
    call = new_code_cell('tl.quiz("09")', outputs=[new_output("stream", text="Quiz of lesson 09\n")])
    notebook.cells[9:10] = [new_markdown_cell("## Quiz\n\n" + PROSE), call, new_markdown_cell(questions)]
    build_notebooks.normalise(notebook)
    found = breaches(notebook, solved=False)
    assert found == ["quiz_explains: the questions are not folded into one cell below tl.quiz"]
    notebook.cells[11].source = f"{FOLD}\n\n{questions}\n\n</details>"
    assert breaches(notebook, solved=False) == []


@pytest.mark.parametrize(("title", "seconds", "broken"), [("09 ·", 65, 1), ("06 ·", 65, 0), ("06 ·", 125, 1)])
def test_the_project_may_take_twice_as_long(title, seconds, broken):
    notebook = sound_notebook()
    replace(notebook.cells[0], "09 ·", title)
    replace(notebook.cells[0], "about 5 s", f"about {seconds} s")
    assert len(breaches(notebook, solved=False)) == broken


@pytest.mark.parametrize("space", ["", " "])
def test_the_old_way_to_ask_for_weights_is_seen(space):
    notebook = sound_notebook()
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    code.source += f"\nmodels.resnet18(pretrained{space}={space}True)"
    assert [line for line in breaches(notebook, solved=False) if line.startswith("leaves_the_environment_alone")]


def test_a_solved_exercise_in_the_learner_copy_is_seen():
    notebook = sound_notebook()
    notebook.cells[4].outputs[0].text = "[OK] 09.1 right\n"
    assert breaches(notebook, solved=False) == ["exercises_are_whole: the check says right: answer = 2"]


def test_an_exercise_left_wrong_in_the_solution_copy_is_seen():
    found = breaches(sound_notebook(), solved=True)
    assert "exercises_are_whole: the check says not right: answer = 2" in found
