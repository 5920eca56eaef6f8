"""The quiz of a lesson source: its questions, the file that `tl.quiz` reads, and the text folded below it.

In the source a question is a markdown cell of its own after the heading "## Quiz" and the code cell tl.quiz("03"):

    # %% [markdown] tags=["quiz"]
    # **1. What is 1 + 1?**
    #
    # <details><summary>Two</summary>
    #
    # Right. Count them.
    #
    # </details>

Every option says why it is right or not; the one that begins with "Right" is right. The texts are one paragraph each
and hold nothing but words, `code` and *emphasis* (in a summary <code>…</code>, for Markdown is not read there).
"""

import html
import json
import re
from pathlib import Path

from lesson_cells import Cell, LessonError
from notebook_hygiene import FOLD

LETTERS = "ABCDEF"
FEWEST_WORDS = 4  # of feedback: "Right." alone explains nothing
QUESTION = re.compile(r"^\*\*(?=\d+\. )", re.MULTILINE)
ASKED = re.compile(r"\*\*(\d+)\. (\S.*?)\*\*[ \t]*(?=\n|\Z)", re.DOTALL)
OPTION = re.compile(r"\s*<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.DOTALL)
RIGHT = re.compile(r"Right\b")
CODE = re.compile(r"`[^`\n]+`")
NOT_PLAIN = re.compile(r"<|\]\(|^\s*(?:[-*+]|\d+\.|#+|>|\|)\s|^```|\n\s*\n", re.MULTILINE)


def is_call(cell: Cell) -> bool:
    return cell.kind == "code" and "tl.quiz(" in cell.source


def quiz_section(cells: list[Cell]) -> range:
    """The places of the cells from the heading "## Quiz" to the one before the next heading or the licence line."""
    start = next(
        (i for i, c in enumerate(cells) if c.kind == "markdown" and re.match(r"## Quiz$", c.source, re.M)), None
    )
    if start is None:
        return range(0)
    ends = (i for i in range(start + 1, len(cells)) if re.search(r"^## ", cells[i].source, re.MULTILINE))
    return range(start, next(ends, len(cells) - 1))


def read_quiz(cells: list[Cell], name: str) -> list[dict]:
    """The questions of a lesson: [{"question": text, "options": [{"text", "right", "feedback"}]}]; [] without a quiz.

    Raises LessonError with file and line for a quiz that cannot be asked.
    """
    section = quiz_section(cells)
    for index, cell in enumerate(cells):
        if index not in section and ("quiz" in cell.tags or is_call(cell)):
            raise LessonError(f"{name}:{cell.line}: this belongs below the heading '## Quiz', before the next heading")
    _check_order([cells[index] for index in section], name)
    questions = []
    for cell in (cells[index] for index in section if cells[index].kind == "markdown"):
        begin = QUESTION.search(cell.source)
        places = [match.start() for match in QUESTION.finditer(cell.source)]
        if not begin:
            if "<details>" in cell.source:
                raise LessonError(f"{name}:{cell.line}: a question begins with its number, '**1. What …?**'")
            continue
        for place, end in zip(places, [*places[1:], len(cell.source)], strict=True):
            questions.append(_question(cell, place, end, name, len(questions) + 1))
    places = [[option["right"] for option in question["options"]].index(True) for question in questions]
    if len(places) > 2 and len(set(places)) == 1:
        where = f"{name}:{cells[section[0]].line}"
        raise LessonError(f"{where}: the right option is always {LETTERS[places[0]]}: put some in another order")
    if section and not questions:
        raise LessonError(f"{name}:{cells[section[0]].line}: this quiz asks nothing; a question is '**1. What …?**'")
    return questions


def _check_order(cells: list[Cell], name: str) -> None:
    """The heading, one call of tl.quiz, then the questions."""
    calls, number = [index for index, cell in enumerate(cells) if cell.kind == "code"], name[:2]
    if not cells:
        return
    if not calls:
        raise LessonError(f'{name}:{cells[0].line}: the code cell tl.quiz("{number}") is missing below this heading')
    first = cells[calls[0]]
    if len(calls) > 1 or first.source.strip() != f'tl.quiz("{number}")' or first.tags:
        raise LessonError(
            f'{name}:{cells[calls[-1]].line}: the only code cell of a quiz is tl.quiz("{number}"), without tags'
        )
    for index, cell in enumerate(cells):
        asks = bool(QUESTION.search(cell.source))
        if asks and index < calls[0]:
            raise LessonError(f'{name}:{cell.line}: the questions come after the cell tl.quiz("{number}")')
        if index > calls[0] and not (asks and "quiz" in cell.tags):
            wanted = "after tl.quiz only questions, '**1. What …?**', in cells with tags=[\"quiz\"]"
            raise LessonError(f"{name}:{cell.line}: {wanted}")


def _question(cell: Cell, place: int, end: int, name: str, number: int) -> dict:
    def where(position: int) -> str:
        return f"{name}:{cell.line + 1 + cell.source.count(chr(10), 0, position)}"

    asked = ASKED.match(cell.source, place, end)
    if not asked:
        raise LessonError(f"{where(place)}: a question is bold to its end, '**{number}. What …?**' on lines of its own")
    if int(asked[1]) != number:
        raise LessonError(f"{where(place)}: this is question {number}, not {asked[1]}")
    question, options = _plain(asked[2], where(place)), []
    position = asked.end()
    while match := OPTION.match(cell.source, position, end):
        line = where(cell.source.index("<details>", position))
        text, feedback = _summary(match[1], line), _plain(match[2], line)
        if len(feedback.split()) < FEWEST_WORDS:
            raise LessonError(f"{line}: the option {text!r} is not explained: {feedback!r}")
        options.append({"text": text, "right": bool(RIGHT.match(feedback)), "feedback": feedback})
        position = match.end()
    left = cell.source[position:end]
    if left.strip():
        line = where(position + len(left) - len(left.lstrip()))
        found = left.strip().splitlines()[0][:60]
        raise LessonError(f"{line}: a question holds only options, <details><summary>…</summary> … </details>: {found}")
    if not 2 <= len(options) <= len(LETTERS):
        raise LessonError(f"{where(place)}: question {number} has {len(options)} options, wanted 2 to {len(LETTERS)}")
    if len({option["text"] for option in options}) < len(options):
        raise LessonError(f"{where(place)}: question {number} has the same option twice")
    right = sum(option["right"] for option in options)
    if right != 1:
        raise LessonError(
            f"{where(place)}: question {number} has {right} right options, wanted 1: its feedback begins with 'Right'"
        )
    return {"question": question, "options": options}


def _plain(text: str, where: str) -> str:
    """One paragraph on one line; LessonError for what neither a button nor a spoken line can show."""
    text = text.strip("\n ")
    strange = NOT_PLAIN.search(CODE.sub("", text))
    if strange:
        found = strange[0].strip() or "an empty line"
        raise LessonError(f"{where}: a quiz holds words, `code` and *emphasis*, one paragraph each; found {found!r}")
    return " ".join(text.split())


def _summary(text: str, where: str) -> str:
    """The text of an option with `code` for its <code>…</code>."""
    if re.search(r"[`*]", text):
        raise LessonError(f"{where}: Markdown is not read inside <summary>: write <code>…</code> for code")
    text = _plain(re.sub(r"<code>(.+?)</code>", r"`\1`", text), where)
    if not text:
        raise LessonError(f"{where}: this option is empty")
    return html.unescape(text)


def quiz_file(lesson: str, questions: list[dict]) -> str:
    """The text of tlhelpers/quizzes/lesson_NN.json."""
    return json.dumps({"lesson": lesson, "questions": questions}, ensure_ascii=False, indent=1) + "\n"


def folded(questions: list[dict]) -> str:
    """The questions as Markdown for the notebook, each answer to be opened, and all of them inside one fold."""
    parts = [FOLD]
    for number, question in enumerate(questions, start=1):
        if number > 1:
            parts[-1] += "\n<br>"  # Jupyter leaves no room below a fold
        parts.append(f"**{number}. {question['question']}**")
        for option in question["options"]:
            text = re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(option["text"], quote=False))
            parts.append(f"<details><summary>{text}</summary>\n\n{option['feedback']}\n\n</details>")
    return "\n\n".join([*parts, "</details>"])


def write_quizzes(sources: dict[str, list[dict]], folder: Path, check: bool) -> list[str]:
    """Write lesson_NN.json for each {"03": questions}, remove what has no quiz; returns what was stale, in words."""
    wanted = {f"lesson_{lesson}.json": quiz_file(lesson, quiz) for lesson, quiz in sources.items() if quiz}
    present = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("lesson_*.json")}
    found = []
    for name in sorted(wanted.keys() | present.keys()):
        if wanted.get(name) == present.get(name):
            continue
        found.append(f"{folder.parent.name}/{folder.name}/{name}: not what the lesson asks")
        if check:
            continue
        if name in wanted:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return found
