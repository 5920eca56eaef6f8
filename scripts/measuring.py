"""What the measure_*.py scripts share: a file of finished runs, so that a script that is stopped goes on where it was.

Every script measures one question over several seeds, keeps each run in docs/measured/NAME.json and turns them into a
section of docs/results.md. `make results` runs what is missing and writes the page.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "docs" / "measured"


class Runs:
    """The finished runs of one script: {"key of the run": what it gave}, written after each run.

    Plain numbers, strings and lists only. A run that is already there is not repeated.
    """

    def __init__(self, name: str, folder: Path = MEASURED) -> None:
        self.file = folder / f"{name}.json"
        self.content = {"machine": "", "runs": {}}
        if self.file.exists():
            self.content = json.loads(self.file.read_text(encoding="utf-8"))

    @property
    def runs(self) -> dict[str, Any]:
        return self.content["runs"]

    def once(self, key: str, measure: Callable[[], Any]) -> Any:
        """Return the result kept under `key`; measure it first if there is none."""
        if key not in self.runs:
            start = time.perf_counter()
            self.replace(key, measure())
            print(f"{key}: {self.runs[key]}  ({time.perf_counter() - start:.0f} s)", flush=True)
        return self.runs[key]

    def replace(self, key: str, result: Any) -> None:
        """Keep a result under `key`, in the place of an earlier one if there is one."""
        self.runs[key] = result
        self.content["machine"] = machine()
        self._write()

    def _write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(".tmp")
        ordered = {"machine": self.content["machine"], "runs": dict(sorted(self.runs.items()))}
        temporary.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.file)


def machine() -> str:
    """How a result names the computer: processor or graphics card, cores, versions."""
    import torch
    import torchvision

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    versions = f"torch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}"
    return f"{device}, {os.cpu_count()} cores, {versions}"


def t_quantile(seeds: int) -> float:
    """How many standard errors the 95 % interval of a mean over so many seeds reaches to either side (Student's t).

    >>> round(t_quantile(3), 2)
    4.3
    """
    from scipy.stats import t as student_t

    return float(student_t.ppf(0.975, seeds - 1))


def mean_and_spread(values: list[float], digits: int = 1) -> str:
    """Accuracies in 0..1 as per cent with their standard deviation over seeds.

    >>> mean_and_spread([0.50, 0.52, 0.54])
    '52.0 ± 2.0'
    """
    spread = f" ± {100 * stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.{digits}f}{spread}"


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A table for docs/results.md; the first column is text, the others are numbers.

    >>> print(markdown_table(["", "a"], [["x", "1"]]))
    |  | a |
    |---|--:|
    | x | 1 |
    """
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    rendered = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
    rendered[1] = rendered[1].replace(" ", "")
    return "\n".join(rendered)
