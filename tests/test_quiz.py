"""The quizzes: read strictly from the lessons, asked with buttons or as text, and no answer is given away."""

import json
import random
import re
import subprocess
import sys
from html.parser import HTMLParser

import lesson_quiz
import numpy as np
import pytest
import torch
from build_blank import blank_notebook
from course_address import SETUP_CELL
from lesson_cells import LessonError, read_cells
from lesson_counts import read_sections
from lesson_source import LESSONS, ROOT, lesson_notebook
from markdown_it import MarkdownIt
from notebook_hygiene import FOLD

import tlhelpers.quizzes
from tlhelpers import CourseError
from tlhelpers.quizzes import Option, Question, Quiz, lessons_with_quiz, quiz

SOURCES = sorted(LESSONS.glob("[0-9][0-9]_*.py"))
NUMBERS = [source.name[:2] for source in SOURCES]

LESSON = f"""\
# %% [markdown]
# # 09 · Tiny
#
# {{{{badge}}}}
#
# {{{{time}}}}

# %% tags=["setup"]
{SETUP_CELL}

# %% tags=["type-along"] say="add"
total = 1 + 1

# %% [markdown]
# ## Quiz
#
# Choose an answer.

# %%
tl.quiz("09")

# %% [markdown] tags=["quiz"]
# **1. What does `x < 2` give for *every*
# x of [0, 1]?**
#
# <details><summary><code>True</code> &amp; nothing else</summary>
#
# Right. Both are smaller
# than `2`.
#
# </details>
#
# <details><summary>It depends</summary>
#
# Harmless: but there is nothing it could depend on.
#
# </details>

# %% [markdown] tags=["quiz"]
# **2. What is 2 * 2?**
#
# <details><summary>Four</summary>
# No need to guess: it is five in this made-up lesson.
# </details>
# <details><summary>Five</summary>
# Right: this course is made up.
# </details>

# %% [markdown]
# ## Further reading
#
# Text: CC BY 4.0. Code: MIT.
"""
CALL = '# %%\ntl.quiz("09")\n\n'


def write(tmp_path, text: str):
    source = tmp_path / "09_tiny.py"
    source.write_text(text, encoding="utf-8")
    return source


def questions_of(tmp_path, text: str) -> list[dict]:
    source = write(tmp_path, text)
    return lesson_quiz.read_quiz(read_cells(source), source.name)


# From the lesson source to the questions


def test_the_questions_are_read(tmp_path):
    first, second = questions_of(tmp_path, LESSON)
    assert first == {
        "question": "What does `x < 2` give for *every* x of [0, 1]?",
        "options": [
            {"text": "`True` & nothing else", "right": True, "feedback": "Right. Both are smaller than `2`."},
            {
                "text": "It depends",
                "right": False,
                "feedback": "Harmless: but there is nothing it could depend on.",
            },
        ],
    }
    assert [option["right"] for option in second["options"]] == [False, True]


def line_of(text: str, nth: int = 1) -> int:
    """The line of LESSON that holds the text, counted as an editor does."""
    return [number for number, line in enumerate(LESSON.splitlines(), start=1) if text in line][nth - 1]


FIRST, SECOND = line_of("**1."), line_of("**2.")
MALFORMED = {
    "not counted on": ("**2. What", "**3. What", rf":{SECOND}: this is question 2, not 3"),
    "not bold to its end": ("2 * 2?**", "2 * 2?", rf":{SECOND}: a question is bold to its end"),
    "no right answer": ("Right: this course", "Yes: this course", rf":{SECOND}: question 2 has 0 right options"),
    "two right answers": ("No need to guess", "Right to guess", rf":{SECOND}: question 2 has 2 right options"),
    "not explained": ("Right: this course is made up.", "Right.", rf":{line_of('>Five<')}: the option 'Five' is not"),
    "said nothing": ("No need to guess: it is five in this made-up lesson.", "", rf":{line_of('>Four<')}: the option"),
    "twice the same": (">Five<", ">Four<", rf":{SECOND}: question 2 has the same option twice"),
    "one option": (
        "# <details><summary>Five</summary>\n# Right: this course is made up.\n# </details>\n",
        "",
        rf":{SECOND}: question 2 has 1 options, wanted 2 to 6",
    ),
    "text between": (
        "# <details><summary>It depends",
        "# Think.\n#\n# <details><summary>It depends",
        rf":{line_of('It depends')}: a question holds only options, .*: Think\.",
    ),
    "an open fold": (
        "# Right: this course is made up.\n# </details>",
        "# Right: this course is made up.",
        rf":{line_of('>Five<')}: a question holds only options",
    ),
    "a fold in a fold": ("Right: this", "<details>Right: this", rf":{line_of('>Five<')}: .* found '<'"),
    "a link": ("this course is", "[this](page) course is", r": a quiz holds words, .* found '\]\('"),
    "a list": ("# than `2`.", "# - than `2`.", r": a quiz holds words, .* found '-'"),
    "two paragraphs": ("# than `2`.", "#\n# than `2`.", r": a quiz holds words, .* found 'an empty line'"),
    "Markdown in a summary": ("<code>True</code>", "`True`", rf":{line_of('<code>')}: Markdown is not read inside"),
    "an empty option": (">Four<", "> <", rf":{line_of('>Four<')}: this option is empty"),
    "no number": ("**2. What", "**What", rf":{SECOND - 1}: after tl.quiz only questions"),
    "no number in the heading's cell": (
        "# Choose an answer.",
        "# **What?**\n#\n# <details><summary>Yes</summary>Right, this is so.</details>",
        rf":{line_of('## Quiz') - 1}: a question begins with its number",
    ),
    "no question": (
        LESSON[LESSON.index('# %% [markdown] tags=["quiz"]') : LESSON.index("# %% [markdown]\n# ## Further")],
        "",
        rf":{line_of('## Quiz') - 1}: this quiz asks nothing",
    ),
    "no heading": ("# ## Quiz", "# ## Query", rf":{line_of('tl.quiz') - 1}: this belongs below the heading '## Quiz'"),
    "another lesson": ('tl.quiz("09")', 'tl.quiz("08")', rf':{line_of("tl.quiz") - 1}: .* is tl.quiz\("09"\)'),
    "no call": (CALL, "", rf":{line_of('## Quiz') - 1}: the code cell tl.quiz\(\"09\"\) is missing"),
    "two calls": (CALL, CALL + CALL, rf":{line_of('tl.quiz') + 2}: the only code cell of a quiz"),
    "no tag": ('# %% [markdown] tags=["quiz"]\n# **2.', "# %% [markdown]\n# **2.", r": after tl.quiz only questions"),
    "a question before the call": (
        "# Choose an answer.\n\n" + CALL,
        "# **1. What?**\n\n" + CALL,
        rf":{line_of('## Quiz') - 1}: the questions come after the cell",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_quiz_that_cannot_be_asked_is_refused_with_file_and_line(tmp_path, case):
    old, new, message = MALFORMED[case]
    assert LESSON.count(old) == 1
    source = write(tmp_path, LESSON.replace(old, new))
    with pytest.raises(LessonError, match=message) as error:
        lesson_notebook(source, solved=False)
    assert str(error.value).startswith("09_tiny.py:")


def test_the_right_answer_is_not_always_at_the_same_place(tmp_path):
    """Whoever has seen that it is always the second one learns nothing any more."""
    first = LESSON[
        LESSON.index('# %% [markdown] tags=["quiz"]\n# **2.') : LESSON.index("# %% [markdown]\n# ## Further")
    ]
    before, after = LESSON.split(first)
    start = before.index('# %% [markdown] tags=["quiz"]')
    same = "".join(first.replace("**2.", f"**{number}.") for number in (1, 2, 3))
    with pytest.raises(LessonError, match="the right option is always B"):
        questions_of(tmp_path, before[:start] + same + after)


def test_a_lesson_may_have_no_quiz(tmp_path):
    start, end = LESSON.index("# %% [markdown]\n# ## Quiz"), LESSON.index("# %% [markdown]\n# ## Further")
    text = LESSON[:start] + LESSON[end:]
    assert questions_of(tmp_path, text) == [] and lesson_quiz.write_quizzes({"09": []}, tmp_path, check=True) == []


@pytest.mark.parametrize("source", SOURCES, ids=NUMBERS)
def test_what_is_asked_is_what_the_lesson_says(source):
    file = ROOT / "tlhelpers" / "quizzes" / f"lesson_{source.name[:2]}.json"
    wanted = lesson_quiz.quiz_file(source.name[:2], lesson_quiz.read_quiz(read_cells(source), source.name))
    assert file.read_text(encoding="utf-8") == wanted, "build it again: make notebooks PROSE=1"


def test_no_lesson_is_left_out():
    assert lessons_with_quiz() == NUMBERS


# In the notebook


class Folds(HTMLParser):
    """How deep each summary of a page stands in folds, and what it says."""

    def __init__(self):
        super().__init__()
        self.depth, self.open, self.found = 0, False, []

    def handle_starttag(self, tag, attrs):
        self.depth += tag == "details"
        if tag == "summary":
            self.open = True
            self.found.append((self.depth, ""))

    def handle_endtag(self, tag):
        self.depth -= tag == "details"
        self.open = self.open and tag != "summary"

    def handle_data(self, data):
        if self.open:
            self.found[-1] = (self.found[-1][0], self.found[-1][1] + data)


def test_the_notebook_asks_and_then_folds_the_same_questions(tmp_path):
    notebook = lesson_notebook(write(tmp_path, LESSON), solved=False)
    heading, call, text, after = notebook.cells[-4:]
    assert heading.source.startswith("## Quiz") and call.source == 'tl.quiz("09")'
    assert text.source.startswith(FOLD) and text.metadata == {"tags": ["quiz"]} and "Further" in after.source
    page = Folds()
    page.feed(MarkdownIt("commonmark").render(text.source))
    answers = ["True & nothing else", "It depends", "Four", "Five"]
    assert page.found == [(1, "The same questions as text, with every answer"), *[(2, name) for name in answers]]
    assert page.depth == 0
    # and what stands there is read as what it was made from
    assert lesson_quiz.folded(questions_of(tmp_path, LESSON)) == text.source
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_minutes_and_code_along_copies_go_on_working(tmp_path):
    source = write(tmp_path, LESSON)
    quiz_minutes = next(s for s in read_sections(source, 60, [1.0, 1.0, 1.0]) if s.heading == "Quiz")
    assert (quiz_minutes.quiz, quiz_minutes.cells, quiz_minutes.words) == (2, 0, 0)
    copy = blank_notebook(source)
    assert copy.cells[2].source.startswith("# type along: add") and "total = 1 + 1" in copy.cells[3].source
    assert copy.cells[-3].source == 'tl.quiz("09")' and copy.cells[-2].source.startswith(FOLD)


def test_slides_show_the_questions_and_not_the_cell(tmp_path):
    pytest.importorskip("pygments")
    from lesson_slides import make_deck

    notebook = lesson_notebook(write(tmp_path, LESSON), solved=False)
    slides = [slide for stack in make_deck(notebook, "09_tiny").stacks for slide in stack]
    quiz_slides = [slide for slide in slides if slide.kind == "quiz"]
    assert [slide.heading for slide in quiz_slides] == ["Quiz 1", "Quiz 2"]
    first = "".join(block.html for block in quiz_slides[0].blocks)
    assert first.count('class="option"') == 2 and "why right" in first and "<code>True</code>" in first
    assert "tl.quiz" not in "".join(block.html for slide in slides for block in slide.blocks)


# Asking


def tiny() -> Quiz:
    return Quiz(
        "09",
        (
            Question(1, "Is `a < b`?", (Option("A", "Yes", False, "No: look."), Option("B", "No", True, "Right: so."))),
            Question(
                2, "And *now*?", (Option("A", "Yes", True, "Right: so."), Option("B", "No", False, "Almost: so."))
            ),
        ),
    )


def test_only_the_first_choice_counts():
    asked = tiny()
    assert asked.score() == "Nothing of 2 answered yet." and asked.chosen == {} and asked.right == 0
    assert asked.choose(1, "A") == "1A: No: look."
    assert asked.choose(1, "b") == "1B: Right: so."
    assert asked.score() == "1 of 2 answered, 0 right at the first try."
    asked.choose(2, "A")
    assert asked.score() == "1 of 2 right at the first try." and asked.right == 1
    assert asked.chosen == {1: ["A", "B"], 2: ["A"]}


def test_what_was_looked_up_does_not_count():
    asked = tiny()
    asked.choose(1, "B")
    asked.show_answers()
    asked.choose(2, "A")
    assert asked.right == 1 and asked.score() == "1 of 2 answered, 1 right at the first try, 1 looked up."
    asked.show_answers(False)
    assert not asked.shows_answers and asked.right == 1


def test_a_wrong_answer_is_always_called_so():
    assert tiny().choose(2, "B") == "2B: Not this one. Almost: so."


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: quiz("09"), "no quiz for lesson '09'. The lessons with a quiz are: 00, 01, "),
        (lambda: quiz("../00"), "no quiz for lesson"),
        (lambda: tiny().choose(3, "A"), "no question 3: this quiz has the questions 1 to 2"),
        (lambda: tiny().choose("1", "A"), "no question '1'"),
        (lambda: tiny().choose(1, "C"), "Question 1 has no answer 'C'. Its answers are: A, B"),
    ],
)
def test_what_is_not_there_is_named(ask, message):
    with pytest.raises(CourseError, match=message):
        ask()


@pytest.mark.parametrize("name", [3, "3", "03"])
def test_a_lesson_by_its_number(name):
    assert quiz(name).lesson == tlhelpers.quiz(name).lesson == "03"


@pytest.mark.parametrize("lesson", NUMBERS)
def test_every_option_is_explained_and_none_is_given_away(lesson):
    asked = quiz(lesson)
    feedback = [option.feedback for question in asked.questions for option in question.options]
    shown = str(asked) + repr(asked) + everything_in(asked.widget())
    assert not [text for text in feedback if plain(text) in plain(shown)]
    for question in asked.questions:
        for option in question.options:
            said = asked.choose(question.number, option.letter)
            assert plain(option.feedback) in plain(said)
            assert plain(option.feedback) in plain(everything_in(asked.widget()))
    assert all(plain(text) in plain(asked.answers()) for text in feedback)


def plain(text: str) -> str:
    """Letters and digits only: the same in Markdown, HTML and broken lines."""
    return re.sub(r"<[^>]*>|&\w+;|\W", "", text)


def test_asking_changes_nothing():
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    asked = quiz("00")
    asked.widget()
    asked.choose(1, "A")
    asked.show_answers()
    assert random.getstate() == before[0] and np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


# With buttons, on ipywidgets 7 and 8


def parts_in(widget) -> list:
    return [widget, *[part for child in getattr(widget, "children", ()) for part in parts_in(child)]]


def everything_in(widget) -> str:
    names = ("description", "tooltip", "value")
    return "\n".join(str(getattr(part, name, "")) for part in parts_in(widget) for name in names)


def buttons_of(asked: Quiz) -> dict:
    return {part.description[:2]: part for part in parts_in(asked.widget()) if hasattr(part, "on_click")}


def test_a_button_answers_in_words():
    asked = tiny()
    buttons = buttons_of(asked)
    assert buttons["1A"].description == "1A · Yes" and buttons["1A"].tooltip == "Question 1: Is a < b?"
    buttons["1A"].click()
    assert asked.chosen == {1: ["A"]}
    assert buttons["1A"].description == "1A · Yes – no" and "tl-quiz-no" in buttons["1A"]._dom_classes
    assert buttons["1B"].description == "1B · No" and not buttons["1B"]._dom_classes
    buttons["1B"].click()
    assert buttons["1B"].description == "1B · No – right"
    live = [p.value for p in parts_in(asked.widget()) if 'role="status" aria-live="polite"' in getattr(p, "value", "")]
    assert "<strong>1B:</strong> Right: so." in live[0] and "look" not in live[0]
    assert "1 of 2 answered, 0 right at the first try." in live[-1]


def test_the_answers_can_be_shown_and_hidden():
    asked = tiny()
    control = next(part for part in parts_in(asked.widget()) if getattr(part, "description", "") == "Show every answer")
    control.click()
    assert all(text in everything_in(asked.widget()) for text in ("No: look.", "Almost: so."))
    assert control.description == "Hide the answers" and "2 looked up" in everything_in(asked.widget())
    control.click()
    assert "look." not in everything_in(asked.widget())


def test_shown_twice_it_is_one_quiz_and_closed_it_is_made_anew():
    asked = tiny()
    first = asked.widget()
    assert asked.widget() is first
    asked.choose(1, "A")
    first.close()
    assert asked.widget() is not first and "1A · Yes – no" in everything_in(asked.widget())


def test_in_a_notebook_there_are_buttons_and_a_word_for_pages_without(monkeypatch):
    monkeypatch.setattr(tlhelpers.quizzes, "_in_notebook", lambda: True)
    asked = tiny()
    bundle = asked._repr_mimebundle_()
    view = bundle.pop("application/vnd.jupyter.widget-view+json")
    assert view == {"version_major": 2, "version_minor": 0, "model_id": asked.widget().model_id}
    assert list(bundle) == ["text/plain"] and "folded up below" in bundle["text/plain"]
    json.dumps(view)


def test_without_ipywidgets_there_is_text_to_unfold(monkeypatch):
    monkeypatch.setattr(tlhelpers.quizzes, "_in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bundle = tiny()._repr_mimebundle_()
    page = Folds()
    page.feed(bundle["text/html"])
    assert [text for _, text in page.found] == ["1A · Yes", "1B · No", "2A · Yes", "2B · No"] and page.depth == 0
    assert "a &lt; b" in bundle["text/html"] and "Not this one. Almost" in bundle["text/html"]
    assert "look" not in bundle["text/plain"], "plain text cannot be folded, so it holds no answer"


def test_in_a_terminal_there_is_text():
    assert list(tiny()._repr_mimebundle_()) == ["text/plain"]
    text = str(tiny())
    assert "1. Is a < b?\n   1A  Yes\n   1B  No" in text and 'tl.quiz("09").answers()' in text


def test_a_quiz_needs_no_matplotlib():
    code = "import sys; from tlhelpers.quizzes import quiz; quiz('00').widget(); print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "False", run.stderr
