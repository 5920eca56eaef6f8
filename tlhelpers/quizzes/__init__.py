"""The quiz at the end of a lesson: `tl.quiz("03")` as the last line of a cell.

All questions stand below each other, in the order of the text in the notebook: nothing moves away under a keyboard or
a screen reader, a question can be left out, and a room can look at all of them. Every answer says why it is right or
not. Nothing but the quiz itself changes: no random number is drawn, no file is written.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from typing import Any

from ..session import CourseError
from .questions import Option, Question, as_html, as_plain, lessons_with_quiz, read_questions, said_about

__all__ = ["Option", "Question", "Quiz", "lessons_with_quiz", "quiz"]

VIEW = "application/vnd.jupyter.widget-view+json"
_BELOW = (
    "Quiz of lesson {0}. No buttons here? The same questions are folded up below as text, with every answer.\n"
    'Anywhere else: print(tl.quiz("{0}"))'
)


def quiz(lesson: str | int) -> Quiz:
    """Return the quiz of a lesson, for example "03"; as the last value of a cell it shows itself.

    Raises CourseError for a lesson without a quiz.

    >>> quiz("00")
    Quiz of lesson 00: Nothing of 5 answered yet.
    """
    return Quiz(*read_questions(lesson))


class Quiz:
    """Questions, and what was chosen so far: `chosen` is {number of the question: letters in the order chosen}.

    >>> example = Quiz("99", (Question(1, "1 + 1?", (Option("A", "3", False, "No: one less."),
    ...                                              Option("B", "2", True, "Right: count them."))),))
    >>> example.choose(1, "A")
    '1A: No: one less.'
    >>> example.choose(1, "B"), example.score()
    ('1B: Right: count them.', '0 of 1 right at the first try.')
    """

    def __init__(self, lesson: str, questions: tuple[Question, ...]) -> None:
        self.lesson, self.questions = lesson, questions
        self.chosen: dict[int, list[str]] = {}
        self.shows_answers = False
        self._first: dict[int, bool] = {}  # number: whether the first choice was right, without having looked it up
        self._looked_up: set[int] = set()
        self._widget: Any = None
        self._refresh: Callable[[], None] = lambda: None

    @property
    def right(self) -> int:
        """How many questions were answered right at the first try."""
        return sum(self._first.values())

    def choose(self, number: int, letter: str) -> str:
        """Choose an answer, as pressing its button does, and return what is said about it.

        Choosing again is welcome; only the first choice counts. Raises CourseError for a question or a letter that is
        not there.
        """
        option = self._option(number, letter)
        self.chosen.setdefault(number, []).append(option.letter)
        if number not in self._first and number not in self._looked_up:
            self._first[number] = option.right
        self._refresh()
        return as_plain(said_about(number, option))

    def show_answers(self, shown: bool = True) -> None:
        """Show what is to be said about every answer, or hide it again. Questions still open count as looked up."""
        self.shows_answers = shown
        if shown:
            self._looked_up |= {question.number for question in self.questions} - set(self._first)
        self._refresh()

    def score(self) -> str:
        """Return the running total in words."""
        total, answered = len(self.questions), len(self._first)
        if answered == total:
            return f"{self.right} of {total} right at the first try."
        looked_up = f", {len(self._looked_up)} looked up" if self._looked_up else ""
        if not answered:
            return f"Nothing of {total} answered yet{looked_up}."
        return f"{answered} of {total} answered, {self.right} right at the first try{looked_up}."

    def answers(self) -> str:
        """Return every question with every answer and what is to be said about it, as plain text."""
        return "\n\n".join(self._lines(question, with_answers=True) for question in self.questions)

    def __str__(self) -> str:
        questions = "\n\n".join(self._lines(question, with_answers=False) for question in self.questions)
        call = f'tl.quiz("{self.lesson}")'
        how = f'{call}.choose(1, "A") says whether 1A is right, print({call}.answers()) explains every answer.'
        return f"{questions}\n\n{how}"

    def __repr__(self) -> str:
        return f"Quiz of lesson {self.lesson}: {self.score()}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Buttons where a notebook can show them, else text to unfold, else plain text."""
        if not _in_notebook():
            return {"text/plain": str(self)}
        try:
            import ipywidgets  # noqa: F401 - only to see whether it is there
        except ImportError:
            return {"text/html": self.folded(), "text/plain": str(self)}
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget().model_id}
        return {VIEW: view, "text/plain": _BELOW.format(self.lesson)}

    def widget(self) -> Any:
        """Return the ipywidgets box with the questions; made once, so a quiz shown twice stays one quiz."""
        if self._widget is None or self._widget.comm is None:  # None: closed, by Widget.close_all() for example
            from .buttons import build

            self._widget, self._refresh = build(self)
        return self._widget

    def folded(self) -> str:
        """Return the questions as HTML, each answer folded away until it is opened."""
        parts = []
        for question in self.questions:
            parts.append(f"<p><strong>{question.number}. {as_html(question.text)}</strong></p>")
            for option in question.options:
                name, why = f"{question.number}{option.letter}", as_html(said_about(question.number, option))
                parts.append(f"<details><summary>{name} · {as_html(option.text)}</summary><p>{why}</p></details>")
        return "\n".join(parts)

    def _option(self, number: int, letter: str) -> Option:
        if number not in range(1, len(self.questions) + 1):
            raise CourseError(
                f"There is no question {number!r}: this quiz has the questions 1 to {len(self.questions)}."
            )
        options = {option.letter: option for option in self.questions[number - 1].options}
        if str(letter).upper() not in options:
            raise CourseError(f"Question {number} has no answer {letter!r}. Its answers are: {', '.join(options)}.")
        return options[str(letter).upper()]

    def _lines(self, question: Question, with_answers: bool) -> str:
        lines = textwrap.wrap(f"{question.number}. {as_plain(question.text)}", 100)
        for option in question.options:
            lines.append(f"   {question.number}{option.letter}  {as_plain(option.text)}")
            if with_answers:
                said = as_plain(said_about(question.number, option))
                lines += textwrap.wrap(said, 100, initial_indent=" " * 7, subsequent_indent=" " * 7)
        return "\n".join(lines)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this, and not a script or a terminal."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
