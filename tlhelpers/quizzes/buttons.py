"""The quiz as ipywidgets, valid on versions 7.7 and 8: headings, native buttons, and text that screen readers speak.

Buttons and not radio buttons: moving through radio buttons with the arrow keys chooses each of them on the way, and
would answer the question. A button answers when Enter or the space bar is pressed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .questions import Option, Question, as_html, as_plain, said_about

if TYPE_CHECKING:
    from . import Quiz

# Green and vermilion that colour-blind people tell apart, and the words "right" and "no" say the same.
STYLE = """<style>
.tl-quiz .jupyter-button { height: auto; min-height: 36px; white-space: normal; text-align: left; line-height: 1.4;
  padding: 6px 12px; border-left: 6px solid transparent; overflow-wrap: anywhere; }
.tl-quiz .jupyter-button:focus-visible { outline: 2px solid currentColor; outline-offset: 1px; }
.tl-quiz .tl-quiz-right { border-left-color: #009E73; }
.tl-quiz .tl-quiz-no { border-left-color: #D55E00; }
.tl-quiz h3 { font-size: 1.1em; font-weight: bold; line-height: 1.4; margin: 16px 0 4px 0; }
.tl-quiz strong { font-weight: bold; }
.tl-quiz p { line-height: 1.5; margin: 4px 0 4px 8px; }
</style>"""
WIDEST = "46em"  # longer lines are hard to read


def build(quiz: Quiz) -> tuple[Any, Callable[[], None]]:
    """Return the box with the whole quiz, and the function that brings it up to date after a choice."""
    import ipywidgets as widgets

    def text(inside: str = "") -> Any:
        return widgets.HTML(inside, layout={"max_width": WIDEST, "margin": "0"})

    def wide_button(label: str, tooltip: str, width: str) -> Any:
        layout = {"width": width, "height": "auto", "max_width": WIDEST, "margin": "2px", "align_self": "flex-start"}
        return widgets.Button(description=label, tooltip=tooltip, layout=layout)

    buttons: dict[tuple[int, str], Any] = {}
    says = {question.number: text() for question in quiz.questions}
    parts = [text(STYLE)]
    for question in quiz.questions:
        parts.append(text(f"<h3>{question.number}. {as_html(question.text)}</h3>"))
        for option in question.options:
            key = (question.number, option.letter)
            buttons[key] = wide_button(_label(quiz, question, option), _tooltip(question), "calc(100% - 4px)")
            buttons[key].on_click(lambda _, key=key: quiz.choose(*key))
            parts.append(buttons[key])
        parts.append(says[question.number])
    total = text()
    everything = wide_button("", "", "auto")
    everything.on_click(lambda _: quiz.show_answers(not quiz.shows_answers))
    parts += [total, everything]

    def refresh() -> None:
        for question in quiz.questions:
            chosen = quiz.chosen.get(question.number, [])
            for option in question.options:
                button = buttons[question.number, option.letter]
                button.description = _label(quiz, question, option)
                if option.letter in chosen:
                    button.add_class("tl-quiz-right" if option.right else "tl-quiz-no")
            shown = [option for option in question.options if option.letter in chosen[-1:] or quiz.shows_answers]
            lines = "".join(f"<p>{as_html(said_about(question.number, option))}</p>" for option in shown)
            # a live region: screen readers say its new text without being asked, but not all answers of a quiz at once
            says[question.number].value = lines if quiz.shows_answers else _spoken(lines)
        total.value = _spoken(f"<p><strong>{quiz.score()}</strong></p>")
        everything.description = "Hide the answers" if quiz.shows_answers else "Show every answer"

    refresh()
    box = widgets.VBox(parts, layout={"width": "100%", "overflow": "visible"})
    box.add_class("tl-quiz")
    return box, refresh


def _spoken(inside: str) -> str:
    return f'<div role="status" aria-live="polite">{inside}</div>'


def _label(quiz: Quiz, question: Question, option: Option) -> str:
    """The text of a button, and so its name for a screen reader: the question's number, the answer, the verdict."""
    label = f"{question.number}{option.letter} · {as_plain(option.text)}"
    if option.letter in quiz.chosen.get(question.number, []):
        label += " – right" if option.right else " – no"
    return label


def _tooltip(question: Question) -> str:
    """What a screen reader adds to the name, for whoever comes with the Tab key and has not read the heading."""
    return f"Question {question.number}: {as_plain(question.text)}"
