"""The parts of a lesson that take time in a room, counted, and what each of its cells costs to compute.

lesson_minutes.py turns them into the tables of the instructor guide.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from lesson_quiz import is_call
from lesson_source import LESSONS, NOTEBOOKS, ROOT, read_cells
from workshop_plan import ASSUMED

TIMES, CELLS = LESSONS / "times.json", ROOT / "docs" / "measured" / "cells.json"
OPENING = "Opening"  # title, what you will be able to do, setup cell
OPENING_HEADINGS = ("What you will be able to do", "Set up")
NOT_IN_CLASS = "Further reading"
PREDICTION, QUESTION = re.compile(r"\*\*Predict( again)?[.:]"), re.compile(r"^\*\*\d+\. ", re.M)
FENCED_CODE = re.compile(r"^```.*?^```", re.M | re.S)


class PlanError(Exception):
    """The guide cannot be written. The message says which file to change, or what to run."""


@dataclass
class Section:
    """What one section of a lesson asks of a room."""

    heading: str
    words: int = 0
    cells: int = 0  # of code, exercises apart
    typed: int = 0  # of these, marked to be typed live
    predictions: int = 0
    figures: int = 0
    quiz: int = 0
    exercises: list[str] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)  # seconds of each code cell, on two cores

    def minutes(self, typed: bool = True, exercises: Iterable[str] | None = None) -> float:
        """Planned minutes with computing; without typing, or with some exercises only."""
        asked = self.exercises if exercises is None else [number for number in self.exercises if number in exercises]
        value = {name: number for name, (number, _) in ASSUMED.items()}
        parts = [
            value["talk"] + self.words / value["words"],
            self.cells * value["cell"] + (self.typed * value["typed"] if typed else 0),
            self.predictions * value["predict"] + self.figures * value["figure"],
            len(asked) * value["exercise"] + self.quiz * value["quiz"],
            sum(self.costs) / 60,
        ]
        return sum(parts)


def again(source: Path) -> str:
    """What measures the cells of a lesson."""
    return f"python scripts/lesson_minutes.py --measure --only {source.name[:2]}"


def read_sections(source: Path, seconds: float, costs: list[float]) -> list[Section]:
    """The sections of a lesson; `seconds` for the whole lesson are shared out by what its cells cost."""
    sections, number, shares = [Section(OPENING)], 0, iter(costs)
    cells = read_cells(source)
    if len(costs) != sum(cell.kind == "code" for cell in cells):
        raise PlanError(f"{CELLS.name} has {len(costs)} cells of {source.stem}, measure again: {again(source)}")
    for cell in cells:
        if cell.kind == "code":
            sections[-1].costs.append(next(shares) * seconds / sum(costs))
            if "exercise" in cell.tags:
                number += 1
                sections[-1].exercises.append(f"{source.name[:2]}.{number}")
            elif not is_call(cell):  # the questions have minutes of their own
                sections[-1].cells += 1
                sections[-1].typed += "type-along" in cell.tags
        elif "hints" not in cell.tags:
            for part in re.split(r"^(?=## )", cell.source, flags=re.M):
                heading = part.splitlines()[0][3:] if part.startswith("## ") else ""
                if heading and heading not in OPENING_HEADINGS:
                    sections.append(Section(heading))
                last = sections[-1]
                if last.heading == "Quiz":
                    last.quiz += len(QUESTION.findall(part))
                else:
                    last.words += len(FENCED_CODE.sub("", part).split())
                last.predictions += len(PREDICTION.findall(part))
                last.figures += part.count("*What the figure shows:*")
    return [section for section in sections if section.heading != NOT_IN_CLASS]


def read_course(
    lessons: Path = LESSONS, times_file: Path = TIMES, cells_file: Path = CELLS
) -> dict[str, list[Section]]:
    """{"02": its sections} for every lesson."""
    times = json.loads(times_file.read_text(encoding="utf-8"))
    costs = json.loads(cells_file.read_text(encoding="utf-8"))["cells"]
    course = {}
    for source in sorted(lessons.glob("[0-9][0-9]_*.py")):
        if source.stem not in times or source.stem not in costs:
            number = source.name[:2]
            do = f"make notebooks ONLY={number} TIMES=1, then {again(source)}"
            raise PlanError(f"{source.name} has no measured time: {do}")
        course[source.name[:2]] = read_sections(source, times[source.stem], costs[source.stem])
    return course


def cell_costs(notebook_file: Path) -> list[float]:
    """Run a notebook; seconds of processor time for each code cell, the first one with the start of Python."""
    import psutil
    from nbclient import NotebookClient

    notebook = nbformat.read(notebook_file, as_version=4)
    settings = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "TLHELPERS_PROFILE": "mini"}
    inherited = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    folder = {"metadata": {"path": str(notebook_file.parent)}}
    client = NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=folder)
    client.extra_arguments = ["--IPKernelApp.log_level=40"]
    costs, before = [], 0.0
    with client.setup_kernel(env={**inherited, **settings}):
        kernel = psutil.Process(client.km.provisioner.pid)
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                client.execute_cell(cell, index)
                now = sum(kernel.cpu_times()[:4])  # user, system, and both of its finished children
                costs.append(round(now - before, 2))
                before = now
    return costs


def measure(only: str = "") -> None:
    """Fill docs/measured/cells.json; with `only`, the lessons whose number begins like this, the others stay."""
    from measuring import machine

    cells = json.loads(CELLS.read_text(encoding="utf-8"))["cells"] if CELLS.exists() else {}
    for file in sorted((NOTEBOOKS / "solutions").glob(f"{only}*.ipynb")):
        cells[file.stem] = cell_costs(file)
        print(f"{file.stem}: {sum(cells[file.stem]):.0f} s of processor time", flush=True)
        rows = ",\n".join(f"  {json.dumps(stem)}: {json.dumps(costs)}" for stem, costs in sorted(cells.items()))
        text = f'{{\n "machine": {json.dumps(machine())},\n "cells": {{\n{rows}\n }}\n}}\n'
        temporary = CELLS.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, CELLS)
