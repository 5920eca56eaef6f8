"""What lesson_minutes.py needs from a person: assumed minutes, and what is done in which order in three workshops.

A step of a schedule takes the minutes of its lesson sections, rounded up to five. `spare=True` is the time that is left
until the end of the day: a schedule with less than five minutes of it is refused.
"""

from dataclasses import dataclass, field

# name: (value, what it says in the guide)
ASSUMED = {
    "talk": (1.5, "minutes for each section: say what it is about, show the picture, take questions"),
    "words": (150, "words of prose in a minute, read by them or told by you"),
    "cell": (1.0, "minute for each code cell: run it, read what it printed"),
    "typed": (1.5, "minutes more for a cell that is typed live"),
    "predict": (1.0, "minute for each prediction: write it down, tell your neighbour"),
    "figure": (0.5, "minute to look at each figure"),
    "exercise": (5.0, "minutes for each exercise, with the talk about it"),
    "quiz": (1.0, "minute for each quiz question"),
}


@dataclass(frozen=True)
class Step:
    """One row. `sections` are beginnings of headings in lesson `lesson`, "*" is all of them."""

    what: str
    learners: str = ""
    lesson: str = ""
    sections: tuple[str, ...] = ()
    exercises: tuple[str, ...] = ()  # "02.4"; of other exercises of these sections only the stub is run
    ran: tuple[str, ...] = ()  # sections that are only run, because later cells need them: computing time, no minutes
    typed: bool = False  # are the marked cells typed live (`make blank`), or only run?
    minutes: int = 0  # for a step without a lesson
    pause: bool = False
    spare: bool = False


@dataclass(frozen=True)
class Day:
    start: str
    end: str
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True)
class Schedule:
    key: str  # its name in the markers of the guide
    days: list[Day]


def welcome(minutes: int) -> Step:
    return Step("Welcome: who is here, sticky notes, last room checks", "tell a neighbour your name", minutes=minutes)


def spare() -> Step:
    return Step("Questions, catching up", "ask; finish an exercise", spare=True)


def pause(minutes: int, name: str = "Break") -> Step:
    return Step(name, "leave the room", minutes=minutes, pause=True)


def close(minutes: int) -> Step:
    return Step("What to take home, survey", "name one thing they will try; survey", minutes=minutes)


QUIZ = ("Common mistakes", "Take-aways", "Quiz")
SHORT_TEASER = ("Opening", "The idea", "See it")
TEASER = ("Opening", "The idea", "Words", "See it")
CHECKS = ("When", "Compare", "How to")

NINETY_MINUTES = [
    Step("Welcome, sticky notes", "put up a green or a red one", minutes=5),
    Step("The idea, and the teaser", "two predictions, run, read", "00", SHORT_TEASER),
    Step("Where it helps less", "predict the gap; read the dots", "00", ("When", "Compare")),
    pause(5, "Stand up"),
    Step(
        "Open a network, freeze it", "head, then bug hunt in pairs", "02", ("Opening", "1 ·", "2 ·"), ("02.1", "02.2")
    ),
    spare(),
    close(5),
]

HALF_DAY = [
    welcome(10),
    Step("The idea, and the teaser", "two predictions, run, read", "00", SHORT_TEASER),
    Step("Where it helps less", "predict the gap; first check", "00", CHECKS, ("00.1",)),
    Step("From a picture to numbers", "predict, run, read", "01", ("2 ·",), (), ("Opening", "1 ·")),
    pause(15),
    Step(
        "The forgotten Normalize",
        "predict; read the table",
        "01",
        ("8 ·", "Compare"),
        (),
        ("3 ·", "4 ·", "5 ·", "6 ·", "7 ·"),
    ),
    Step("Open a network, freeze it", "name the head; bug hunt in pairs", "02", ("Opening", "1 ·", "2 ·"), ("02.2",)),
    Step("BatchNorm moves all the same", "predict, run, read", "02", ("3 ·",)),
    pause(10),
    Step("The training loop", "explain it to a neighbour; bug hunt", "02", ("5 ·",), ("02.4",), ("4 ·",)),
    Step("Cached features, random body", "predict; read the dots", "02", ("7 ·", "Compare"), (), ("6 ·", "8 ·", "9 ·")),
    spare(),
    close(10),
]

FIRST_DAY = [
    welcome(15),
    Step("The idea, and the teaser", "type along; two predictions", "00", TEASER, typed=True),
    Step("Where it helps less", "type along; two checks", "00", CHECKS, ("00.1", "00.2"), typed=True),
    Step("Quiz of lesson 00", "vote with fingers", "00", QUIZ, typed=True),
    pause(15),
    Step(
        "Pictures, numbers, frames",
        "type along; an area in pairs",
        "01",
        ("Opening", "1 ·", "2 ·", "3 ·"),
        ("01.1",),
        typed=True,
    ),
    Step("Corners and colour", "type along; bug hunt in pairs", "01", ("4 ·", "5 ·"), ("01.2",), typed=True),
    Step("Normalize, two pipelines", "type along; bug hunt in pairs", "01", ("6 ·", "7 ·"), ("01.5",), typed=True),
    pause(60, "Lunch"),
    Step("The forgotten Normalize, quiz", "predict; read the table; vote", "01", ("8 ·", "Compare", *QUIZ), typed=True),
    Step(
        "Open a network, freeze it",
        "type along; head, then bug hunt",
        "02",
        ("Opening", "1 ·", "2 ·"),
        ("02.1", "02.2"),
        typed=True,
    ),
    Step("BatchNorm, heads, losses", "predict; build a head", "02", ("3 ·", "4 ·"), ("02.3",), typed=True),
    pause(15),
    Step(
        "The training loop",
        "type along; a bug hunt in pairs; ask the doctor",
        "02",
        ("5 ·", "6 ·"),
        ("02.4",),
        typed=True,
    ),
    Step(
        "Cached features, probe, answers",
        "type along; look at wrong answers",
        "02",
        ("7 ·", "8 ·", "9 ·", "Compare"),
        typed=True,
    ),
    Step("Quiz of lesson 02", "vote with fingers", "02", QUIZ, typed=True),
    pause(10),
    spare(),
    close(10),
]

SECOND_DAY = [
    Step("Yesterday in five sentences", "one sentence each, in fours", minutes=5),
    Step("All layers: low rate, high rate", "two predictions", "03", ("Opening", "1 ·")),
    Step("A rate for every depth, a sweep", "bug hunt in pairs", "03", ("2 ·", "3 ·"), ("03.3",)),
    Step("OneCycle, early stopping", "predict; bug hunt in pairs", "03", ("4 ·", "6 ·"), ("03.5",), ("5 ·",)),
    pause(10),
    Step(
        "Head first, then everything", "read the dots; vote", "03", ("8 ·", "Compare", "Common", "Take"), (), ("7 ·",)
    ),
    Step("Three phases by hand", "count images won and lost", "04", ("Opening", "1 ·", "2 ·")),
    pause(5),
    Step("The optimiser that was not told", "predict; bug hunt in pairs", "04", ("3 ·", "4 ·"), ("04.2",)),
    Step("Caches, and the map", "predict before each table", "04", ("6 ·", "7 ·", "Compare"), (), ("5 ·",)),
    pause(60, "Lunch"),
    Step("A label that admits a doubt", "predict; read the diagram", "05", ("Opening", "1 ·", "2 ·")),
    Step("Mixup by hand", "write mixup in pairs", "05", ("3 ·",), ("05.3",)),
    Step(
        "Broken accuracy, live comparison",
        "predict; read the dots",
        "05",
        ("6 ·", "7 ·", "Compare"),
        (),
        ("4 ·", "5 ·"),
    ),
    pause(15),
    Step(
        "The project: rules, strategies",
        "bug hunt; rank three strategies",
        "06",
        ("Opening", "1 ·", "2 ·", "4 ·"),
        ("06.1",),
        ("3 ·",),
    ),
    Step("Train it, choose", "predict the gain", "06", ("5 ·",)),
    Step("Three figures, the test part once", "predict above or below", "06", ("6 ·", "7 ·", "8 ·"), ("06.3",)),
    pause(10),
    Step("Where did it look?", "which row is the random one?", "06", ("9 ·",)),
    Step("Your own photos, the model card", "own photos; write two limits", "06", ("11 ·", "12 ·"), (), ("10 ·",)),
    spare(),
    close(10),
]

SCHEDULES = [
    Schedule("90 minutes", [Day("10:00", "11:30", NINETY_MINUTES)]),
    Schedule("half a day", [Day("09:00", "12:30", HALF_DAY)]),
    Schedule("two days", [Day("09:00", "17:00", FIRST_DAY), Day("09:00", "17:00", SECOND_DAY)]),
]
