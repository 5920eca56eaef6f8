"""Measure every ratio the course promises and print it with its target: `make bench`.

python benchmarks/bench.py                      everything, about 20 minutes on two cores
python benchmarks/bench.py --only loop frozen   some of it
python benchmarks/bench.py --quick              tiny sizes, to see that it runs; the figures mean nothing

python benchmarks/bench.py --cpu-time           one thread's processor time: rough figures on a busy machine

Each line is measured in one process in which the ways it compares take turns: same machine, data, network, epochs,
and all cores, as for a learner. The result goes to docs/measured/bench.json and docs/results.md, unless --quick,
--cpu-time or --print-only is given. The exit status is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "benchmarks")]

from rows import HEADER, Row, cells, table  # noqa: E402
from timing import CPU_TIME  # noqa: E402

NAME = "bench"
# what to measure, in the order of the table: file and function, title
ITEMS = {
    "loop": ("bench_training", "tl.fit against a loop by hand"),
    "others": ("bench_training", "tl.fit beside other libraries"),
    "frozen": ("bench_caching", "Cached features"),
    "views": ("bench_caching", "Cached augmented views"),
    "gradual": ("bench_caching", "Gradual unfreezing"),
    "images": ("bench_images", "From files to batches"),
    "imports": ("bench_course", "The import"),
    "explorers": ("explorers", "The explorers"),
    "gpu": ("bench_gpu", "On a graphics card"),
    "lessons": ("bench_course", "The lessons"),
}


def measure(item: str, rounds: int, quick: bool) -> list[Row]:
    """Run one item in this process."""
    return getattr(importlib.import_module(ITEMS[item][0]), item)(rounds, quick)


def measure_in_fresh_process(item: str, rounds: int, quick: bool, cpu_time: bool = False) -> list[Row]:
    """Run one item in a process of its own: nothing that another item loaded or warmed up has a part in it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, __file__, "--item", item, "--out", str(file), "--rounds", str(rounds)]
        environment = dict(os.environ)
        if cpu_time:
            environment |= {"OMP_NUM_THREADS": "1", CPU_TIME: "1"}
        elif not quick:
            environment.pop("OMP_NUM_THREADS", None)  # all cores
        done = subprocess.run([*command, *["--quick"] * quick], env=environment)
        if done.returncode or not file.exists():
            note = f"its process ended with status {done.returncode}"
            return [Row(ITEMS[item][1], "failed", "= measured", note=note)]
        return [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))]


def rows_of(runs: dict[str, Any]) -> list[Row]:
    return [Row(**row) for item in ITEMS if item in runs for row in runs[item]]


def section(runs: dict[str, Any]) -> str:
    """The benchmark's part of docs/results.md."""
    from measuring import markdown_table

    parts = [
        "## What the code costs\n\n"
        "`make bench`. In each line the ways compared take turns in one process on the same machine, with the same "
        "data, network and epochs, on all cores; a ratio is the median over the rounds unless a round takes a minute. "
        "A miss stays a miss here."
    ]
    for item, (_, title) in ITEMS.items():
        if item in runs:
            lines = [cells(Row(**row)) for row in runs[item]]
            parts.append(f"### {title}\n\n{markdown_table(HEADER, lines)}")
    return "\n\n".join(parts) + "\n"


def keep(item: str, rows: list[Row], folder: Path | None = None) -> None:
    """Put an item into docs/measured/bench.json in the place of its earlier run."""
    from measuring import MEASURED, Runs, machine

    runs = Runs(NAME, folder or MEASURED)
    if runs.runs and runs.content["machine"] != machine():  # never two machines in one table
        print(f"The earlier figures, measured on {runs.content['machine']}, are dropped.")
        runs.runs.clear()
    runs.replace(item, [row.to_dict() for row in rows])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ITEMS, default=list(ITEMS), metavar="ITEM", help=", ".join(ITEMS))
    parser.add_argument("--rounds", type=int, default=5, help="rounds of what is short (default 5)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes; keeps nothing")
    parser.add_argument("--cpu-time", action="store_true", help="count one thread's processor time; keeps nothing")
    parser.add_argument("--print-only", action="store_true", help="keep nothing, only print the table")
    parser.add_argument("--item", choices=ITEMS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.item:
        rows = measure(options.item, options.rounds, options.quick)
        options.out.write_text(json.dumps([row.to_dict() for row in rows]), encoding="utf-8")
        return 0
    every_row: list[Row] = []
    written = not (options.quick or options.cpu_time or options.print_only)
    for item in ITEMS:
        if item not in options.only:
            continue
        print(f"{ITEMS[item][1]} ({item})", flush=True)
        rows = measure_in_fresh_process(item, options.rounds, options.quick, options.cpu_time)
        print(table(rows) + "\n", flush=True)
        every_row += rows
        if written:
            keep(item, rows)
    print(table(every_row))
    return finish(every_row, written)


def finish(rows: list[Row], written: bool) -> int:
    from measuring import machine

    missed = [row for row in rows if not row.met]
    print(f"\nMeasured on: {machine()}.")
    if written:
        importlib.import_module("write_results").main([])
        print("Written: docs/measured/bench.json and docs/results.md.")
    print(f"{len(missed)} missed: {'; '.join(row.what for row in missed)}" if missed else "No target is missed.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
