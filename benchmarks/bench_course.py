"""What the course itself costs: importing its package, and every lesson's seconds and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from rows import Row

ROOT = Path(__file__).resolve().parent.parent
IMPORTS = {
    "torch": "import torch, torchvision",
    "tlhelpers": "import torch, torchvision\nmiddle = time.perf_counter()\nimport tlhelpers",
}


def seconds_of_import(code: str) -> tuple[float, float]:
    """Run imports in a fresh process: seconds altogether, and after the line that notes the middle."""
    program = (
        f"import time\nstart = middle = time.perf_counter()\n{code}\nend = time.perf_counter()\n"
        "print(end - start, end - middle)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    whole, last = map(float, done.stdout.split())
    return whole, last


def imports(rounds: int, quick: bool) -> list[Row]:
    """`import tlhelpers` on top of `import torch, torchvision`, each in processes of its own, by turns."""
    seconds_of_import(IMPORTS["tlhelpers"])  # off the clock: the files come into the system's memory
    alone, together, added = [], [], []
    for _ in range(1 if quick else rounds):
        alone.append(seconds_of_import(IMPORTS["torch"])[0])
        whole, last = seconds_of_import(IMPORTS["tlhelpers"])
        together.append(whole)
        added.append(last)
    note = (
        f"torch and torchvision {median(alone):.2f} s, with tlhelpers {median(together):.2f} s; "
        f"median of {len(added)} fresh processes each"
    )
    return [Row("import tlhelpers, after torch and torchvision", median(added), "<= 0.3", "s", note)]


def lessons(rounds: int, quick: bool, notebooks: list[Path] | None = None) -> list[Row]:
    """Run the learner copy of every lesson under nbval, one after the other: its seconds and its peak memory."""
    if notebooks is None:
        notebooks = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))[: 1 if quick else None]
    rows, total, peaks = [], 0.0, []
    for notebook in notebooks:
        seconds, gigabytes, problem = run_lesson(notebook)
        total += seconds
        peaks.append(gigabytes)
        memory = "" if gigabytes is None else f"peak memory {gigabytes:.2f} GB"
        what = f"lesson {notebook.stem}"
        rows.append(Row(what, "failed", "= passed", note=problem) if problem else Row(what, seconds, "", "s", memory))
        print(f"  {notebook.stem}: {seconds:.1f} s, {memory} {problem}", file=sys.stderr, flush=True)
    problem = "" if all(row.met for row in rows) else "not every lesson passed"
    rows.append(Row("all lessons together", total, "<= 360", "s", "nbval, kernels included", problem))
    known = [peak for peak in peaks if peak is not None]
    problem = problem or ("" if known else "this system does not tell the memory of a finished process")
    rows.append(Row("the largest peak memory of a lesson", max(known, default=None), "<= 1.5", "GB", problem=problem))
    return rows


def run_lesson(notebook: Path) -> tuple[float, float | None, str]:
    """Return seconds, gigabytes (None where unknown) and what went wrong."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env"]
    command += ["--nbval-cell-timeout=300", "--rootdir", str(notebook.parent), "-o", "addopts=", str(notebook)]
    environment = {**os.environ, "TLHELPERS_PROFILE": "mini", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)  # all cores, as for a learner
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=notebook.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    output = process.stdout.read()
    gigabytes = None
    if hasattr(os, "wait4"):
        # the largest of the process and of all that it waited for: the notebook's kernel is among them
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        gigabytes = usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)  # macOS counts bytes, Linux kB
    else:
        process.wait()
    seconds = time.perf_counter() - start
    last_line = (output.strip().splitlines() or [""])[-1]
    return seconds, gigabytes, "" if process.returncode == 0 else last_line
