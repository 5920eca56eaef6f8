"""Time several ways of doing the same thing fairly: by turns, in changing order, in one process."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Way = Callable[["Clock"], None]
CPU_TIME = "TLHELPERS_BENCH_CPU_TIME"  # set by bench.py --cpu-time
now = time.process_time if os.environ.get(CPU_TIME) else time.perf_counter


class Clock:
    """Only what runs inside `with clock:` counts; preparations stand outside.

    >>> clock = Clock()
    >>> with clock:
    ...     pass
    >>> clock.seconds >= 0
    True
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = now()

    def __exit__(self, *_: object) -> None:
        self.seconds += now() - self._start


@dataclass
class Timed:
    """The seconds of each way, round by round."""

    seconds: dict[str, list[float]]

    def ratio(self, one: str, other: str) -> float:
        """The median over the rounds of one / other: in one round both met the same machine."""
        return median(a / b for a, b in zip(self.seconds[one], self.seconds[other], strict=True))

    def spread(self, one: str, other: str) -> str:
        ratios = [a / b for a, b in zip(self.seconds[one], self.seconds[other], strict=True)]
        return f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} round{'s' if len(ratios) > 1 else ''}"

    def median(self, way: str) -> float:
        return median(self.seconds[way])

    def seconds_of(self, *ways: str) -> str:
        return ", ".join(f"{way} {self.median(way):.2f} s" for way in ways)


def interleaved(ways: dict[str, Way], rounds: int) -> Timed:
    """Run all ways in every round, in the given order, then in the reverse one, and so on (ABBA).

    A machine that slows down, or is busy for a while, then hits all ways alike.

    >>> order = []
    >>> timed = interleaved({name: lambda clock, name=name: order.append(name) for name in "AB"}, rounds=2)
    >>> "".join(order), len(timed.seconds["A"])
    ('ABBA', 2)
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways) if number % 2 == 0 else list(reversed(ways))
        for name in names:
            gc.collect()
            clock = Clock()
            ways[name](clock)
            seconds[name].append(clock.seconds)
        done = ", ".join(f"{name} {seconds[name][-1]:.2f} s" for name in ways)
        print(f"  round {number + 1}/{rounds}: {done}", file=sys.stderr, flush=True)
    return Timed(seconds)
