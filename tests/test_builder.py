"""The lesson machine on a tiny made-up lesson, with a stand-in for tlhelpers: it builds, runs, refuses a bad source."""

import base64
import io
import json
from pathlib import Path

import build_notebooks
import course_address
import lesson_source
import nbformat
import pytest
from lesson_source import LessonError, lesson_notebook
from notebook_hygiene import code_cells
from PIL import Image

LESSON = f"""\
# %% [markdown]
# # 09 · Tiny
#
# {{{{badge}}}}
#
# {{{{time}}}}

# %% tags=["setup"]
{lesson_source.SETUP_CELL}

# %%
import matplotlib.pyplot as plt

plt.plot([1, 2, 3])
plt.show()

# %% tags=["exercise"]
# more images: a comment that a shell command hides in
def double(x):
    # --- solution
    # twice
    return 2 * x
    # --- stub
    # return ...   # your turn
    # --- end


tl.check("09.1", double(2))

# %% [markdown] tags=["hints"]
# <details><summary>Hint 1</summary>
#
# What is two times two?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Multiply.
#
# </details>

# %% [markdown]
# Text: CC BY 4.0. Code: MIT.
"""

STAND_IN = """\
def start(seed):
    print("profile mini")

def check(exercise, answer):
    print("[OK] right" if answer == 4 else "[ ] not attempted yet")
"""


QUIZ = """\
# %% [markdown]
# ## Quiz
#
# Choose an answer.

# %%
tl.quiz("09")

# %% [markdown] tags=["quiz"]
# **1. What is 1 + 1?**
#
# <details><summary>Two</summary>
#
# Right. One and one more.
#
# </details>
#
# <details><summary>Three</summary>
#
# No. That is one too many.
#
# </details>

# %% [markdown] tags=["quiz"]
# **2. What is 2 * 2?**
#
# <details><summary>Two</summary>
#
# No. That is only half of it.
#
# </details>
#
# <details><summary>Four</summary>
#
# Right. Two and two more.
#
# </details>

"""
ASKING_STAND_IN = """\
import json
from pathlib import Path

def quiz(lesson):
    import ipywidgets
    file = Path(__file__).parent / "quizzes" / f"lesson_{lesson}.json"
    return ipywidgets.Button(description=json.loads(file.read_text())["questions"][0]["question"])
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A course in small: lessons/09_tiny.py, notebooks/, and a tlhelpers that needs no torch."""
    (tmp_path / "lessons").mkdir()
    (tmp_path / "tlhelpers").mkdir()
    (tmp_path / "tlhelpers" / "__init__.py").write_text(STAND_IN)
    (tmp_path / "lessons" / "09_tiny.py").write_text(LESSON, encoding="utf-8")
    return tmp_path


def build(folder: Path, *arguments: str) -> int:
    return build_notebooks.main(["--lessons", f"{folder}/lessons", "--out", f"{folder}/notebooks", *arguments])


def read(folder: Path, name: str):
    return nbformat.read(folder / "notebooks" / name, as_version=4)


def test_build_execute_check(folder, capsys):
    # The tiny lesson has neither quiz nor objectives: built all the same, and the breaches are reported.
    assert build(folder, "--times") == 1
    assert "quiz_explains: no quiz" in capsys.readouterr().err

    learner, solved = read(folder, "09_tiny.ipynb"), read(folder, "solutions/09_tiny.ipynb")
    assert [cell.execution_count for cell in solved.cells if cell.cell_type == "code"] == [1, 2, 3]
    figure = Image.open(io.BytesIO(base64.b64decode(learner.cells[2].outputs[0].data["image/png"])))
    assert figure.mode == "P" and figure.convert("RGB").getpixel((0, 0)) == (255, 255, 255), "small, and still white"
    assert learner.cells[3].outputs[0].text == "[ ] not attempted yet\n"
    assert solved.cells[3].outputs[0].text == "[OK] right\n"
    assert not any("execution" in cell.metadata for cell in learner.cells + solved.cells)
    assert learner.metadata == solved.metadata == lesson_source.NOTEBOOK_METADATA

    seconds = json.loads((folder / "lessons" / "times.json").read_text())["09_tiny"]
    assert seconds % 5 == 0
    for notebook in (learner, solved):
        assert f"Measured: about {seconds} s on two CPU cores" in notebook.cells[0].source

    assert build(folder, "--check") == 0
    source = folder / "lessons" / "09_tiny.py"
    source.write_text(source.read_text(encoding="utf-8").replace("[1, 2, 3]", "[3, 2, 1]"), encoding="utf-8")
    assert build(folder, "--check") == 1
    assert "notebooks/09_tiny.ipynb: cell 2 differs" in capsys.readouterr().err
    build(folder, "--prose")
    assert "solutions/09_tiny.ipynb: its code has changed" in capsys.readouterr().err

    # new prose over the same code: nothing runs, the outputs stay
    source.write_text(LESSON.replace("What is two times two?", "What is 2 + 2?"), encoding="utf-8")
    build(folder, "--prose")
    assert build(folder, "--check") == 0
    for before, name in ((learner, "09_tiny.ipynb"), (solved, "solutions/09_tiny.ipynb")):
        after = read(folder, name)
        assert [c.outputs for c in code_cells(after)] == [c.outputs for c in code_cells(before)]
        assert "What is 2 + 2?" in after.cells[4].source


def test_a_quiz_is_written_asked_and_folded_and_no_widget_stays(folder, capsys):
    pytest.importorskip("ipywidgets")
    source, licence = folder / "lessons" / "09_tiny.py", "# %% [markdown]\n# Text"
    file = folder / "tlhelpers" / "quizzes" / "lesson_09.json"
    source.write_text(LESSON.replace(licence, QUIZ + licence), encoding="utf-8")
    package = folder / "tlhelpers" / "__init__.py"
    package.write_text(STAND_IN + ASKING_STAND_IN, encoding="utf-8")
    build(folder)
    assert "no_widget_is_kept" not in capsys.readouterr().err
    assert json.loads(file.read_text(encoding="utf-8"))["questions"][0]["options"][1]["text"] == "Three"
    for name in ("09_tiny.ipynb", "solutions/09_tiny.ipynb"):
        notebook = read(folder, name)
        call, questions = notebook.cells[-3:-1]
        # the button was made by what the build had written just before; what stays of it is its text
        assert list(call.outputs[0].data) == ["text/plain"] and "1 + 1?" in call.outputs[0].data["text/plain"]
        assert notebook.metadata == lesson_source.NOTEBOOK_METADATA
        assert questions.metadata == {"tags": ["quiz"]} and questions.source.count("<details>") == 1 + 4
    assert build(folder, "--check") == 0

    source.write_text(source.read_text(encoding="utf-8").replace("one too many", "one more than two"), encoding="utf-8")
    assert build(folder, "--check") == 1
    message = capsys.readouterr().err
    assert (
        "quizzes/lesson_09.json: not what the lesson asks" in message and "notebooks/09_tiny.ipynb: cell 7" in message
    )
    build(folder, "--prose")
    assert build(folder, "--check") == 0 and "one more than two" in file.read_text(encoding="utf-8")
    written = file.read_bytes()
    build(folder, "--prose")
    assert file.read_bytes() == written, "made twice, the same"

    source.write_text(LESSON, encoding="utf-8")
    assert build(folder, "--check") == 1
    build(folder, "--prose")  # stops at the notebooks, whose code has changed; the file went before
    assert not file.exists()


def test_a_new_address_does_not_run_the_lessons_again(folder, monkeypatch):
    """With PROSE=1 the setup cell and the badge change, every output stays; README.md gets its buttons."""
    readme = "# Tiny\n<!-- made by make notebooks: start -->\nold\n<!-- made by make notebooks: end -->\nthe rest\n"
    (folder / "README.md").write_text(readme, encoding="utf-8")
    build(folder)
    before = read(folder, "09_tiny.ipynb")
    assert "no public address yet" in (folder / "README.md").read_text(encoding="utf-8")
    for module in (build_notebooks, lesson_source):
        monkeypatch.setattr(module, "course_address", lambda: ("someone/course", "v1"))
    assert build(folder, "--check") == 1

    build(folder, "--prose")
    assert build(folder, "--check") == 0
    after = read(folder, "09_tiny.ipynb")
    assert '"https://github.com/someone/course", "v1"' in after.cells[1].source
    assert [c.outputs for c in code_cells(after)] == [c.outputs for c in code_cells(before)]
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "someone/course/blob/v1/notebooks/09_tiny.ipynb" in text and "mybinder.org/v2/gh/someone/course/v1" in text
    assert text.startswith("# Tiny\n") and text.endswith("the rest\n") and "no public address" not in text
    build(folder, "--prose")
    assert (folder / "README.md").read_text(encoding="utf-8") == text, "made twice, the same"


def test_a_readme_without_its_marks_is_not_guessed_at(folder, capsys):
    (folder / "README.md").write_text("# Tiny\n", encoding="utf-8")
    assert build(folder, "--prose") == 1
    assert "README.md: the two lines" in capsys.readouterr().err
    assert (folder / "README.md").read_text(encoding="utf-8") == "# Tiny\n"


@pytest.mark.parametrize(
    ("repo", "ref", "message"),
    [
        *[(repo, "main", "owner/name") for repo in ("name", "a b/c", "github.com/owner", "https://x.org/a'b")],
        *[("a/b", ref, "branch") for ref in ("", "-x", "a..b", "main/", "x.lock", "a b")],
    ],
)
def test_an_address_that_cannot_be_is_refused(tmp_path, repo, ref, message):
    file = tmp_path / "pyproject.toml"
    file.write_text(f'[tool.tlcourse]\nrepo = "{repo}"\nref = "{ref}"\n', encoding="utf-8")
    with pytest.raises(course_address.AddressError, match=message):
        course_address.course_address(file)


@pytest.mark.parametrize("ref", ["main", "v1.0.2", "2026-11", "spring/2026"])
@pytest.mark.parametrize("repo", ["https://github.com/some-one/a.course.git", "https://github.com/some-one/a.course/"])
def test_the_address_of_the_browser_is_the_short_one(tmp_path, repo, ref):
    file = tmp_path / "pyproject.toml"
    file.write_text(f'[tool.tlcourse]\nrepo = "{repo}"\nref = "{ref}"\n', encoding="utf-8")
    assert course_address.course_address(file) == ("some-one/a.course", ref)


def test_an_address_elsewhere_fetches_but_has_no_buttons():
    address = ("https://git.example.org/course.git", "v1.0")
    assert '"https://git.example.org/course.git", "v1.0"' in course_address.setup_cell(address)
    assert course_address.colab_badge("notebooks/a.ipynb", address) == course_address.binder_badge(address) == ""


def test_a_failing_cell_stops_the_build_and_names_itself(folder, capsys):
    source = folder / "lessons" / "09_tiny.py"
    source.write_text(source.read_text(encoding="utf-8").replace("plt.show()", "plt.shw()"), encoding="utf-8")
    assert build(folder) == 1
    message = capsys.readouterr().err
    assert "solutions/09_tiny.ipynb: a cell failed" in message and "plt.shw()" in message
    assert "\x1b[" not in message
    assert not list((folder / "notebooks").rglob("*.ipynb"))


def test_check_sees_missing_and_left_over_notebooks(folder, capsys):
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "08_gone.ipynb").touch()
    assert build(folder, "--check") == 1
    message = capsys.readouterr().err
    assert "notebooks/09_tiny.ipynb is missing" in message
    assert "notebooks/08_gone.ipynb has no lesson source" in message


def test_only_an_existing_lesson(folder, capsys):
    assert build(folder, "--only", "07") == 2
    assert "no lesson in lessons/ starts with '07'" in capsys.readouterr().err


def test_exercise_in_both_copies(folder):
    learner, solved = (lesson_notebook(folder / "lessons" / "09_tiny.py", copy) for copy in (False, True))
    first = "# more images: a comment that a shell command hides in\ndef double(x):\n"
    assert learner.cells[3].source == first + '    return ...   # your turn\n\n\ntl.check("09.1", double(2))'
    assert solved.cells[3].source == first + '    # twice\n    return 2 * x\n\n\ntl.check("09.1", double(2))'
    answer = "<details><summary>Solution</summary>\n\n```python\n# twice\nreturn 2 * x\n```\n\n</details>"
    assert learner.cells[4].source.endswith(answer)
    assert "Solution" not in solved.cells[4].source


def test_cell_ids_are_the_same_every_time(folder):
    ids = [[cell.id for cell in lesson_notebook(folder / "lessons" / "09_tiny.py", False).cells] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0])


def test_badge_and_colab_setup_only_with_a_public_address(folder):
    source = folder / "lessons" / "09_tiny.py"
    private = lesson_notebook(source, False, address=("", "main"))
    assert "colab" not in private.cells[0].source and private.cells[1].source == lesson_source.SETUP_CELL
    public = lesson_notebook(source, True, address=("someone/course", "v1"))
    badge = "colab.research.google.com/github/someone/course/blob/v1/notebooks/solutions/09_tiny.ipynb"
    assert badge in public.cells[0].source and "![Open In Colab]" in public.cells[0].source
    assert '"https://github.com/someone/course"' in public.cells[1].source
    assert '"-b", ref,' in public.cells[1].source and '"v1"' in public.cells[1].source
    compile(public.cells[1].source, "setup", "exec")


def line_of(text: str) -> int:
    """The line of LESSON that holds the text, counted as an editor does."""
    return next(number for number, line in enumerate(LESSON.splitlines(), start=1) if text in line)


SETUP, EXERCISE, HINTS = (line_of(f'tags=["{tag}"]') for tag in ("setup", "exercise", "hints"))
STUB = line_of("# --- stub")

MALFORMED = {
    "no first marker": ("# %% [markdown]\n# # 09", "# # 09", r":1: the first line must be a cell marker"),
    "wrong title": ("# # 09 · Tiny", "# # 08 · Tiny", r":1: the first cell .* '# 09 · Title'"),
    "no time": ("# {{time}}", "#", r":1: the first cell needs {{time}}"),
    "no setup": ('tags=["setup"]', "", r"exactly one cell is tagged setup, found 0"),
    "another setup": ("seed=0", "seed=1", rf":{SETUP}: the setup cell differs"),
    "no check": ('tl.check("09.1", double(2))', "", rf':{EXERCISE}: this exercise needs its check, tl.check\("09.1"'),
    "wrong number": ('"09.1"', '"09.2"', rf':{EXERCISE}: this exercise needs its check, tl.check\("09.1"'),
    "no hints": ('tags=["hints"]', "", rf":{EXERCISE}: the cell after an exercise holds its hints"),
    "one hint": ("Hint 2", "Help", rf":{HINTS}: '<summary>Hint 2</summary>' is missing"),
    "no stub": ("    # --- stub\n    # return ...   # your turn\n", "", rf":{STUB}: '# --- stub' expected here, found"),
    "empty stub": ("    # return ...   # your turn\n", "", rf":{EXERCISE}: this exercise has no stub"),
    "no solution": ("    # twice\n    return 2 * x\n", "", rf":{EXERCISE}: this exercise has no solution"),
    "no end": ("    # --- end\n", "", rf":{STUB + 4}: every line of a stub .*\nOr is '# --- end' missing"),
    "bare stub": ("    # return ...", "    return ...", rf":{STUB + 1}: every line of a stub starts with '# '"),
    "misspelt marker": ("# --- stub", "# --- stubs", rf":{STUB}: '# --- stub' expected here, found '# --- stubs'"),
    "no tag": ('tags=["exercise"]', "", rf":{EXERCISE}: '# --- ' lines belong into a cell with tags"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_source_is_refused_with_file_and_line(folder, case):
    old, new, message = MALFORMED[case]
    assert old in LESSON
    source = folder / "lessons" / "09_tiny.py"
    source.write_text(LESSON.replace(old, new), encoding="utf-8")
    with pytest.raises(LessonError, match=message) as error:
        lesson_notebook(source, solved=False)
    assert str(error.value).startswith("09_tiny.py")


def test_badly_named_lesson_is_refused(folder):
    source = (folder / "lessons" / "09_tiny.py").rename(folder / "lessons" / "09-Tiny.py")
    with pytest.raises(LessonError, match="a lesson is named like 02_feature_extraction.py"):
        lesson_notebook(source, solved=False)
