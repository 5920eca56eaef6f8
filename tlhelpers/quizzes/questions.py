"""The questions of the lessons, read from lesson_NN.json beside this file, and their few signs as HTML or plain text.

The json files are built from lessons/NN_*.py by `make notebooks`: change a question there, not here.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path

from ..session import CourseError

LETTERS = "ABCDEF"
FOLDER = Path(__file__).parent
_CODE = re.compile(r"(`[^`]+`)")
_BOLD, _SLANTED = re.compile(r"\*\*(\S(?:.*?\S)?)\*\*"), re.compile(r"\*(\S(?:.*?\S)?)\*")


@dataclass(frozen=True)
class Option:
    """One answer to choose. `feedback` says why it is right or not; both texts may hold `code` and *emphasis*."""

    letter: str
    text: str
    right: bool
    feedback: str


@dataclass(frozen=True)
class Question:
    """A question, counted from 1; exactly one of its options is right."""

    number: int
    text: str
    options: tuple[Option, ...]


def lessons_with_quiz() -> list[str]:
    """Return the numbers of the lessons that have a quiz, in order.

    >>> lessons_with_quiz()[:2]
    ['00', '01']
    """
    return sorted(file.stem.removeprefix("lesson_") for file in FOLDER.glob("lesson_[0-9][0-9].json"))


def read_questions(lesson: str | int) -> tuple[str, tuple[Question, ...]]:
    """Return the lesson's number in two digits and its questions. `lesson` is "03"; 3 and "3" are understood too.

    Raises CourseError for a lesson without a quiz.

    >>> number, questions = read_questions(3)
    >>> number, [option.letter for option in questions[0].options]
    ('03', ['A', 'B', 'C'])
    """
    number = str(lesson).zfill(2)
    if number not in lessons_with_quiz():
        known = ", ".join(lessons_with_quiz())
        raise CourseError(f"There is no quiz for lesson {lesson!r}. The lessons with a quiz are: {known}.")
    found = json.loads((FOLDER / f"lesson_{number}.json").read_text(encoding="utf-8"))
    return number, tuple(
        Question(
            count,
            entry["question"],
            tuple(
                Option(letter, option["text"], option["right"], option["feedback"])
                for letter, option in zip(LETTERS, entry["options"], strict=False)
            ),
        )
        for count, entry in enumerate(found["questions"], start=1)
    )


def said_about(number: int, option: Option) -> str:
    """Return the feedback with the answer's name in front; a wrong answer is called so even where the text does not.

    >>> said_about(1, Option("A", "a shift", False, "Harmless: a shifted 7 is a 7."))
    '**1A:** Not this one. Harmless: a shifted 7 is a 7.'
    """
    says_it = option.right or option.feedback.startswith("No")  # No, Not, Nothing
    return f"**{number}{option.letter}:** {'' if says_it else 'Not this one. '}{option.feedback}"


def as_html(text: str) -> str:
    """Return `code`, **bold** and *emphasis* as HTML, everything else as it is written.

    >>> as_html("set `x < 1`, *now*")
    'set <code>x &lt; 1</code>, <em>now</em>'
    """
    parts = []
    for part in _CODE.split(text):
        if _CODE.fullmatch(part):
            parts.append(f"<code>{html.escape(part[1:-1], quote=False)}</code>")
        else:
            part = _BOLD.sub(r"<strong>\1</strong>", html.escape(part, quote=False))
            parts.append(_SLANTED.sub(r"<em>\1</em>", part))
    return "".join(parts)


def as_plain(text: str) -> str:
    """Return the text without these signs, for a button or a terminal.

    >>> as_plain("set `x * 2`, *now*")
    'set x * 2, now'
    """
    return "".join(
        part[1:-1] if _CODE.fullmatch(part) else _SLANTED.sub(r"\1", _BOLD.sub(r"\1", part))
        for part in _CODE.split(text)
    )
