"""What must be true of a notebook after all its cells have run. Each function returns findings."""

import re

CHECK = re.compile(r"\btl\.check\(\s*[\"'](\d\d\.\d+)[\"']")


def title(cell: dict) -> str:
    lines = [line for line in cell["source"].splitlines() if line.strip() and not line.startswith("#")]
    return repr((lines or [cell["source"]])[0][:60])


def unfinished(cells: list[dict]) -> list[str]:
    """Every code cell has a number."""
    code = [cell for cell in cells if cell["source"].strip()]
    return [
        f"did not run: {title(cell)} shows {cell['prompt']}" for cell in code if not re.search(r"\d", cell["prompt"])
    ]


def errors(cells: list[dict]) -> list[str]:
    """No cell ends in an error or writes to stderr."""
    return [
        f"error or stderr below {title(cell)}: {text.strip()[-300:]}" for cell in cells for text in cell["complaints"]
    ]


def pictures(cells: list[dict]) -> list[str]:
    """What is an image is visible, a cell that shows a figure has one, and no widget is missing."""
    found = []
    for cell in cells:
        found += [f"an image without content below {title(cell)}" for width in cell["images"] if not width]
        if re.search(r"^plt\.show\(\)", cell["source"], re.MULTILINE) and not cell["images"]:
            found.append(f"no figure below {title(cell)}")
        if cell["broken"]:
            found.append(f"a widget is not shown below {title(cell)}: {cell['text'][:200]}")
    return found


def checks(cells: list[dict]) -> list[str]:
    """Every tl.check has printed its line."""
    found = []
    for cell in cells:
        for number in CHECK.findall(cell["source"]):
            if not re.search(rf"^\[( |x|OK)\] {re.escape(number)} ", cell["text"], re.MULTILINE):
                found.append(f"no line of check {number}: {cell['text'][:200]!r}")
    return found


def everything(cells: list[dict]) -> list[str]:
    return [*unfinished(cells), *errors(cells), *pictures(cells), *checks(cells)]
