"""The cells of a lesson source (lessons/NN_name.py, jupytext py:percent), each with the line it starts on."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import jupytext


class LessonError(Exception):
    """A lesson source breaks the format. The message names the file and the line."""


@dataclass
class Cell:
    kind: str  # "markdown" or "code"
    source: str
    line: int  # of its "# %%" marker, counted from 1
    tags: list[str] = field(default_factory=list)


def read_cells(path: Path) -> list[Cell]:
    """The cells of one lesson source, each with the line it starts on."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# %%"):
        raise LessonError(f"{path.name}:1: the first line must be a cell marker, '# %% [markdown]'")
    starts = [number for number, line in enumerate(lines, start=1) if re.match(r"# %%( |$)", line)]
    # comment_magics=False: otherwise jupytext takes a comment such as "# more images" for a shell command.
    notebook = jupytext.reads(text, {"extension": ".py", "format_name": "percent", "comment_magics": False})
    if len(starts) != len(notebook.cells):
        raise LessonError(f"{path.name}: {len(starts)} cell markers, but jupytext reads {len(notebook.cells)} cells")
    return [
        Cell(cell.cell_type, cell.source, line, list(cell.metadata.get("tags", [])))
        for cell, line in zip(notebook.cells, starts, strict=True)
    ]
