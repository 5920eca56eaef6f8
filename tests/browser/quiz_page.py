"""A quiz in the browser: each question answered wrong with the mouse, then right with the keyboard."""

import re

from tlhelpers.quizzes.questions import as_plain, read_questions, said_about

from .explorer_page import name_of

MARK = "(button, number) => { button.dataset.control = 'quiz-' + number }"


def squeezed(text: str) -> str:
    return " ".join(text.split())


def answer_quiz(page, panel, lesson: str, limit: float = 120) -> list[str]:
    """Answer every question wrong, then right; returns what was not as it should be."""
    _, questions = read_questions(lesson)
    found = []

    def says(text: str) -> bool:
        wanted = panel.get_by_role("status").filter(
            has_text=re.compile(re.escape(squeezed(text)).replace(r"\ ", r"\s+"))
        )
        try:
            wanted.first.wait_for(timeout=1000 * limit)
        except Exception as error:  # playwright's, which may not be installed where this file is only imported
            if type(error).__name__ != "TimeoutError":
                raise
            return False
        return True

    def button(question, option):
        start = re.compile(rf"^{question.number}{option.letter} ")
        element = panel.locator("button").filter(has_text=start)
        element.evaluate(MARK, f"{question.number}{option.letter}")
        return element

    for question in questions:
        wrong = next(option for option in question.options if not option.right)
        right = next(option for option in question.options if option.right)
        for option in question.options:
            role, name = name_of(page, button(question, option))
            if role != "button" or squeezed(as_plain(option.text)) not in squeezed(name):
                found.append(f"question {question.number}: answer {option.letter} is a {role} called {name!r}")
        button(question, wrong).click()
        if not says(as_plain(said_about(question.number, wrong))):
            found.append(f"question {question.number}: nothing is said about the wrong answer {wrong.letter}")
        button(question, right).focus()
        page.keyboard.press("Space")
        if not says(as_plain(said_about(question.number, right))):
            found.append(f"question {question.number}: nothing is said about the right answer {right.letter}")
    if not says(f"0 of {len(questions)} right at the first try"):
        found.append("the score does not count the first tries")
    return found
