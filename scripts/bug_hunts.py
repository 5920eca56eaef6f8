"""Hand the set-ups of the lessons' bug hunts to the training doctor: does it name each planted mistake?

    python scripts/bug_hunts.py            a table: exercise, mistake, what the doctor says
    python scripts/bug_hunts.py --reports  the reports on the learners' versions as well

The code of every exercise is read from its lesson and run twice, as the learner finds it and as it is solved, in a
small set-up of bug_hunt_settings.py. The doctor has to name the mistake in the first and not in the second; the exit
status is 1 when it does not. Many bug hunts are about a function that is no part of a training set-up: NOT_SHOWN says
why, for each.
"""

import argparse
import io
import re
import sys
from contextlib import redirect_stdout

from bug_hunt_settings import HUNTS, Hunt, names_of_the_lesson
from lesson_source import LESSONS, LessonError, read_cells, split_exercise

from tlhelpers.diagnosis import Report

NOT_SHOWN = {
    "01.2": "black corners belong to a transform alone; nothing tells them from dark corners of a photograph",
    "02.5": "an average over batches: arithmetic after the epoch",
    "02.6": "a copy of the weights, made after an epoch",
    "02.7": "a function for prediction; the doctor looks at what is about to be trained",
    "04.1": "a list of names; each phase that is made from it is a right one",
    "04.5": "which weights the next phase starts from: any weights can be trained on",
    "05.2": "the loss for validation, which the doctor is not given",
    "05.4": "shares that are a little off are valid soft labels",
    "06.1": "which epoch to publish: arithmetic after the training",
    "06.4": "the title of a figure",
    "06.5": "a hook for Grad-CAM in a trained network",
    "06.6": "a function for prediction",
    "07.2": "a stopwatch round a forward pass; nothing is trained",
    "07.5": "a table of means over seeds: arithmetic after the trainings",
    "08.2": "the boxes of a detector, which the doctor does not train",
    "08.3": "the labels of a detector: 0 means background there, and nowhere else",
}


def versions(number: str) -> tuple[str, str]:
    """The code of an exercise, (as the learner finds it, solved), from the lesson's source."""
    path = next(LESSONS.glob(f"{number[:2]}_*.py"))
    for cell in read_cells(path):
        if "exercise" in cell.tags and f'tl.check("{number}"' in cell.source:
            return split_exercise(cell, path.name)[:2]
    raise LessonError(f"{path.name} has no exercise {number}")


def all_bug_hunts() -> list[str]:
    """The numbers of all bug hunts in the lessons, in their order."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(LESSONS.glob("[0-9][0-9]_*.py"))]
    return [number for text in texts for number in re.findall(r"Exercise (\d\d\.\d) \(bug hunt\)", text)]


def examine(hunt: Hunt, code: str) -> Report:
    """Run the cell in its set-up and return what the doctor says. What the cell prints is dropped."""
    with redirect_stdout(io.StringIO()):
        made = names_of_the_lesson() | hunt.before()
        exec(compile(code, f"exercise {hunt.number}", "exec"), made)
        return hunt.report(made)


def missed(hunt: Hunt, learner: Report, solved: Report) -> list[str]:
    """What is wrong with the two reports, in words; empty when the doctor is right about both."""
    unseen = [f"{hunt.number}: {code} is not seen" for code in hunt.codes if code not in learner]
    return unseen + [f"{hunt.number}: {code} is seen in the solved version" for code in hunt.codes if code in solved]


def run(hunts: tuple[Hunt, ...], reports: bool = False) -> list[str]:
    """Print the table and return what the doctor missed."""
    problems, texts = [], []
    print(f"{'':6}{'the planted mistake':50}{'seen':8}what the doctor says")
    for hunt in hunts:
        learner, solved = (examine(hunt, code) for code in versions(hunt.number))
        found = missed(hunt, learner, solved)
        problems += found
        before, after = (", ".join(report.codes) or "nothing" for report in (learner, solved))
        print(f"{hunt.number:6}{hunt.mistake:50}{'MISSED' if found else 'yes':8}{before}")
        print(f"{'':56}{'solved:':8}{after}", flush=True)
        texts.append(f"--- {hunt.number}\n{learner}\n")
    return _end(problems, texts if reports else [])


def _end(problems: list[str], texts: list[str]) -> list[str]:
    print("\nNo set-up shows these:")
    for number, reason in NOT_SHOWN.items():
        print(f"{number:6}{reason}")
    print("", *texts, *problems, sep="\n")
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Run all of them; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", action="store_true", help="print what the doctor says to the learners' versions")
    return 1 if run(HUNTS, parser.parse_args(arguments).reports) else 0


if __name__ == "__main__":
    sys.exit(main())
