"""How long a lesson takes in a room: count its parts, turn them into minutes, write the tables of the instructor guide.

python scripts/lesson_minutes.py              write the tables in docs/instructor-guide.md
python scripts/lesson_minutes.py --check      write nothing; fail when the guide is stale
python scripts/lesson_minutes.py --measure    run the solved notebooks and keep what each cell costs (10 minutes;
                                              --only 02: one lesson)

Computing times are measured: lessons/times.json has each lesson as a whole, docs/measured/cells.json how a lesson's
processor time is shared out among its cells. Human minutes are planned: they follow from the counts and from the
assumptions in workshop_plan.py. Nobody has measured them with a class yet.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from lesson_counts import PlanError, Section, measure, read_course
from lesson_source import ROOT
from workshop_plan import ASSUMED, SCHEDULES, Day, Step

GUIDE = ROOT / "docs" / "instructor-guide.md"
LESSON = re.compile(r"^## (Lesson (\d\d): .+)$", re.M)  # a lesson's part of the guide
BLOCK = re.compile(r"(<!-- minutes: (.+?) -->\n).*?(<!-- /minutes -->)", re.S)  # the second group names the table
SLOW, ABOUT = 5, re.compile(r"\(about \S+ s\)")  # a cell of more seconds than this deserves a question meanwhile


def chosen(step: Step, beginnings: Iterable[str], course: dict[str, list[Section]]) -> list[Section]:
    """The sections of a step's lesson whose headings begin like this."""
    found = []
    for beginning in beginnings:
        some = [section for section in course[step.lesson] if section.heading.startswith(beginning)]
        if len(some) != 1:
            raise PlanError(f"workshop_plan.py, '{step.what}': lesson {step.lesson} has {len(some)} '{beginning}…'")
        found += some
    return found


def planned(step: Step, course: dict[str, list[Section]]) -> tuple[int, float]:
    """(minutes, seconds of computing) of a step; minutes with a lesson are rounded up to five."""
    if not step.lesson:
        return step.minutes, 0.0
    sections, ran = chosen(step, step.sections, course), chosen(step, step.ran, course)
    unknown = set(step.exercises) - {number for section in sections for number in section.exercises}
    if unknown:
        raise PlanError(f"workshop_plan.py, '{step.what}': exercise {min(unknown)} is in none of its sections")
    seconds = sum(sum(section.costs) for section in sections + ran)
    human = sum(section.minutes(step.typed, step.exercises) for section in sections)
    human += sum(sum(section.costs) for section in ran) / 60
    return 5 * math.ceil(human / 5), seconds


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def since_midnight(text: str) -> int:
    hours, minutes = text.split(":")
    return 60 * int(hours) + int(minutes)


def day_rows(day: Day, course: dict[str, list[Section]]) -> list[tuple[Step, int, int, float]]:
    """(step, its minutes, minutes since midnight when it begins, seconds of computing); the day ends on time."""
    plans = [planned(step, course) for step in day.steps]
    left = since_midnight(day.end) - since_midnight(day.start) - sum(minutes for minutes, _ in plans)
    if left < 5:
        raise PlanError(f"workshop_plan.py, {day.start} to {day.end}: {5 - left} minutes too many, take something out")
    rows, now = [], since_midnight(day.start)
    for step, (minutes, seconds) in zip(day.steps, plans, strict=True):
        minutes = left if step.spare else minutes
        rows.append((step, minutes, now, seconds))
        now += minutes
    return rows


def short_heading(heading: str) -> str:
    """The part of a heading that a row has room for: "§ 3", or the words."""
    numbered = re.match(r"(\d+) ·", heading)
    return f"§ {numbered[1]}" if numbered else heading.split(",")[0]


def seconds_text(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 0.5 else "–"


def pages_of(day: Day, anchors: dict[str, str]) -> str:
    """Links to what this guide says about the lessons of a day."""
    lessons = sorted({step.lesson for step in day.steps if step.lesson})
    missing = [lesson for lesson in lessons if lesson not in anchors]
    if missing:
        raise PlanError(f"{GUIDE.name}: the heading '## Lesson {missing[0]}: …' is missing, a schedule links to it")
    links = [f"[{lesson}](#{anchors[lesson]})" for lesson in lessons]
    return f"Today's sections of this guide: {', '.join(links)}."


def schedule_table(days: list[Day], course: dict[str, list[Section]], anchors: dict[str, str]) -> str:
    parts = []
    for number, day in enumerate(days, start=1):
        lines = ["| clock | min | what | lesson section | learners do | computing |", "|---|--:|---|---|---|--:|"]
        for step, minutes, start, seconds in day_rows(day, course):
            where = ", ".join(short_heading(section.heading) for section in chosen(step, step.sections, course))
            where = f"{step.lesson}: {where}"
            if step.exercises:
                where += f"; exercise{'s' * (len(step.exercises) > 1)} {', '.join(step.exercises)}"
            if step.ran:
                run_only = (short_heading(section.heading) for section in chosen(step, step.ran, course))
                where += f" (only run: {', '.join(run_only)})"
            where = where if step.lesson else "–"
            row = [clock(start), str(minutes), step.what, where, step.learners, seconds_text(seconds)]
            lines.append(f"| {' | '.join(row)} |")
        lines += [f"| {day.end} | | End | | | |", "", pages_of(day, anchors)]
        parts.append((f"**Day {number}**\n\n" if len(days) > 1 else "") + "\n".join(lines))
    return "\n\n".join(parts)


def assumptions_table(course: dict[str, list[Section]]) -> str:
    return "\n".join(f"- {value:g} {text}" for value, text in ASSUMED.values())


def overview_table(course: dict[str, list[Section]]) -> str:
    lines = ["| lesson | words | code cells (typed) | predictions | exercises | quiz | computing | planned minutes |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|")
    totals = [0.0] * 8
    for lesson, sections in course.items():
        row = [sum(getattr(s, what) for s in sections) for what in ("words", "cells", "typed", "predictions", "quiz")]
        row += [sum(len(s.exercises) for s in sections), sum(sum(s.costs) for s in sections)]
        row += [sum(s.minutes() for s in sections)]
        totals = [a + b for a, b in zip(totals, row, strict=True)]
        lines.append(overview_row(lesson, row))
    return "\n".join([*lines, overview_row("all", totals)])


def overview_row(name: str, row: list[float]) -> str:
    words, cells, typed, predictions, quiz, exercises, seconds, minutes = row
    counts = f"{round(words, -1):.0f} | {cells:.0f} ({typed:.0f}) | {predictions:.0f} | {exercises:.0f} | {quiz:.0f}"
    return f"| {name} | {counts} | {seconds_text(seconds)} | {minutes:.0f} |"


def lesson_table(sections: list[Section]) -> str:
    lines = ["| section | words | code cells (typed) | exercises, quiz | computing | planned minutes |"]
    lines.append("|---|--:|--:|--:|--:|--:|")
    for s in sections:
        cells = f"{s.cells} ({s.typed})" if s.typed else str(s.cells)
        counts = f"{round(s.words, -1)} | {cells} | {len(s.exercises) + s.quiz}"
        lines.append(f"| {s.heading} | {counts} | {seconds_text(sum(s.costs))} | {s.minutes():.0f} |")
    return "\n".join(lines)


def lesson_anchors(guide: str) -> dict[str, str]:
    """{"00": "lesson-00-start-here"}: GitHub's names for the headings of the lessons."""
    return {
        number: re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading, number in LESSON.findall(guide)
    }


def tables(course: dict[str, list[Section]], anchors: dict[str, str]) -> dict[str, str]:
    """Every table of the guide by the name in its marker."""
    return {
        "assumed": assumptions_table(course),
        "overview": overview_table(course),
        **{f"lesson {lesson}": lesson_table(sections) for lesson, sections in course.items()},
        **{schedule.key: schedule_table(schedule.days, course, anchors) for schedule in SCHEDULES},
    }


def with_waiting_times(guide: str, lesson: str, sections: list[Section]) -> str:
    """The guide with "(about 9 s)" corrected in the questions of one lesson, one question for each slow cell."""
    questions = re.search(rf"^## Lesson {lesson}: .*?^### Ask while it trains\n(.*?)^### ", guide, re.M | re.S)
    slow = [(cost, section.heading) for section in sections for cost in section.costs if cost > SLOW]
    found = ABOUT.findall(questions[1]) if questions else []
    if len(found) != len(slow):
        cells = ", ".join(f"{cost:.0f} s in '{heading}'" for cost, heading in slow)
        raise PlanError(f"{GUIDE.name}, lesson {lesson}: {len(found)} questions while it trains, needed: {cells}")
    costs = iter(slow)
    text = ABOUT.sub(lambda _: f"(about {next(costs)[0]:.0f} s)", questions[1])
    return guide[: questions.start(1)] + text + guide[questions.end(1) :]


def filled(guide: str, course: dict[str, list[Section]]) -> str:
    """The guide with all its tables and waiting times made anew."""
    wanted = tables(course, lesson_anchors(guide))
    names = [match[2] for match in BLOCK.finditer(guide)]
    if sorted(names) != sorted(wanted):
        differ = sorted(set(names) ^ set(wanted)) or sorted({name for name in names if names.count(name) > 1})
        raise PlanError(f"{GUIDE.name}: each table needs its place, <!-- minutes: NAME -->; look at {differ}")
    guide = BLOCK.sub(lambda match: f"{match[1]}\n{wanted[match[2]]}\n\n{match[3]}", guide)
    for lesson, sections in course.items():
        guide = with_waiting_times(guide, lesson, sections)
    return guide


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the guide is stale")
    parser.add_argument("--measure", action="store_true", help="run the solved notebooks first, cell by cell")
    parser.add_argument("--only", default="", metavar="NN", help="measure this lesson only")
    parser.add_argument("--guide", type=Path, default=GUIDE, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.measure:
            measure(options.only)
        old = options.guide.read_text(encoding="utf-8")
        new = filled(old, read_course())
    except PlanError as error:
        print(error, file=sys.stderr)
        return 1
    if options.check:
        if new != old:
            print(f"{options.guide.name} is stale: python scripts/lesson_minutes.py", file=sys.stderr)
        return int(new != old)
    options.guide.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
