"""One line of the benchmark's table: what was measured, the target beside it, and whether it was met."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Row:
    """A measured value. `target` is such as "<= 1.02" or ">= 15", empty for a figure that is only told.

    >>> Row("tl.fit / loop by hand", 1.004, target="<= 1.02").verdict
    'pass'
    >>> Row("tl.fit / fastai", problem="fastai is not installed").verdict
    'not run'
    """

    what: str
    value: float | str | None = None
    target: str = ""
    unit: str = "x"
    note: str = ""  # the seconds behind a ratio, sizes, accuracies
    problem: str = ""  # why there is no value

    @property
    def verdict(self) -> str:
        if self.problem:
            return "not run"
        return ("pass" if self.met else "MISS") if self.target else ""

    @property
    def met(self) -> bool:
        """Whether the value meets the target; a row without one, or that could not run, misses nothing."""
        if self.problem or not self.target:
            return True
        sign, bound = self.target.split()
        if sign == "=":
            return str(self.value) == bound
        return float(self.value) <= float(bound) if sign == "<=" else float(self.value) >= float(bound)

    @property
    def text(self) -> str:
        if self.problem or self.value is None:
            return "-"
        if isinstance(self.value, str):
            return self.value
        digits = 3 if abs(self.value) < 2 else 2  # whether a target near 1 is met may show in the third one only
        return f"{self.value:.{digits}f} {self.unit}" if self.unit else f"{self.value:.2g}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def cells(row: Row) -> list[str]:
    return [row.what, row.text, row.target, row.verdict, row.problem or row.note]


HEADER = ["", "measured", "target", "", "how"]


def table(rows: list[Row]) -> str:
    """The rows for a terminal, in columns.

    >>> print(table([Row("a ratio", 2.0, ">= 4")]))
               measured  target        how
    a ratio      2.00 x  >= 4    MISS
    """
    lines = [HEADER, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    first, second, third, fourth = widths
    return "\n".join(f"{a:{first}}  {b:>{second}}  {c:{third}}  {d:{fourth}}  {e}".rstrip() for a, b, c, d, e in lines)
