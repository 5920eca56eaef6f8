"""The tables and sums of docs/hosting.md, from docs/measured/memory.json and lessons/times.json.

Each stands between the markers `<!-- measured: NAME -->` and `<!-- measured: end -->`. measure_memory.py writes them.
"""

import json
import math
import re
import sys
from pathlib import Path

from measuring import ROOT, Runs, markdown_table

PAGE = ROOT / "docs" / "hosting.md"
TIMES = ROOT / "lessons" / "times.json"

SYSTEM_GB = 2  # the operating system, JupyterHub and its proxy; a round figure, not measured
MARGIN = 1.3  # learners also play: larger batches, a figure more
AT_ONCE = 3  # one learner in three computes at a given moment: an assumption, the page says so
CORES = (4, 8, 16)
LOAD = '"Load" is how many programs wanted to compute at the end of the run, on the whole machine.'
RENTED_GB = (8, 16, 32, 48, 64, 96, 128, 192, 256)  # machines come in about these sizes


def lesson_runs(runs: dict) -> dict[str, dict]:
    """{lesson: its run alone, with one thread}, in order."""
    return {key.split(", ")[0]: run for key, run in sorted(runs.items()) if re.fullmatch(r"\d\d_\w+, one thread", key)}


def busy(run: dict, cores: int) -> bool:
    """Was the machine doing more than this? Then the computing time is an upper limit."""
    return run["load"] > cores + 1


def memory_table(runs: dict, times: dict[str, int], cores: int) -> str:
    header = ["lesson", "peak, MB", "of it its own", "still its own when finished", "computing, one thread"]
    header.append("clock, two threads")
    rows = []
    for lesson, run in lesson_runs(runs).items():
        seconds = f"{'at most ' if busy(run, cores) else ''}{run['computing_s']:.0f} s"
        sizes = [run["peak_mb"], run["own_peak_sum_mb"], run["idle_own_sum_mb"]]
        rows.append([lesson.replace("_", " "), *sizes, seconds, f"{times[lesson]} s"])
    server = runs["server"]
    besides = (
        f"Besides the kernels, every learner has a JupyterLab server: {server['now_mb']} MB, {server['own_mb']} of it "
        f"its own.\nThe program files that all kernels share: {files_mb(runs)} MB, once."
    )
    return f"{markdown_table(header, rows)}\n\n{besides}"


def settings_table(runs: dict) -> str:
    """Every other measurement: several kernels at once, other settings."""
    header = [
        "measured",
        "kernels",
        "own memory of all at their peak, MB",
        "per kernel",
        "computing time of each",
        "load",
    ]
    rows = []
    for key, run in sorted(runs.items()):
        lesson, _, setting = key.partition(", ")
        if key == "server" or (setting == "one thread" and not any(k.startswith(f"{key}, ") for k in runs)):
            continue
        count = int(found[1]) if (found := re.search(r"(\d+) at once", setting)) else 1
        own = run["own_peak_sum_mb"]
        what = f"lesson {lesson[:2]}, {setting.split(', ' + str(count))[0]}"
        rows.append([what, count, own, round(own / count), f"{run['computing_s']:.0f} s", run["load"]])
    return f"{markdown_table(header, rows)}\n\n{LOAD}"


def threads_sentence(runs: dict) -> str:
    """What all cores for each kernel cost on a busy machine; nothing where both were not measured under such a load."""
    for key, free in sorted(runs.items()):
        lesson, _, setting = key.partition(", ")
        held = [run for other, run in runs.items() if re.fullmatch(rf"{lesson}, one thread(, \d at once)?", other)]
        close = [run for run in held if free["load"] > 4 and run["load"] > 4] if setting == "as it comes" else []
        if close:
            run = max(close, key=lambda one: one["load"])
            return (
                f"On a busy machine, lesson {lesson[:2]} computed for {run['computing_s']:.0f} s with one thread (load "
                f"{run['load']}),\nand for {free['computing_s']:.0f} s with as many threads as PyTorch takes by itself "
                f"(load {free['load']}, the same machine)."
            )
    return ""


def files_mb(runs: dict) -> int:
    return max(run["files_mb"] for key, run in runs.items() if key != "server")


def largest(runs: dict, what: str) -> tuple[int, str]:
    """The largest value of `what` over the lessons, and the lesson."""
    return max((run[what], lesson[:2]) for lesson, run in lesson_runs(runs).items())


def gigabytes(runs: dict, learners: int, forgotten: bool = False) -> float:
    """Memory for so many learners, all at the peak of the hungriest lesson; `forgotten`: an old kernel besides."""
    own = largest(runs, "own_peak_sum_mb")[0] + runs["server"]["own_mb"]
    own += largest(runs, "idle_own_sum_mb")[0] if forgotten else 0
    return (learners * own * MARGIN + files_mb(runs)) / 1000 + SYSTEM_GB


def rented(gb: float) -> int:
    return next(size for size in RENTED_GB if size >= gb)


def sizing_table(runs: dict) -> str:
    header = ["learners", "one kernel each", "rent", "an old kernel left open as well", "rent"]
    rows = []
    for learners in (10, 20, 30):
        one, two = gigabytes(runs, learners), gigabytes(runs, learners, forgotten=True)
        sizes = [f"{math.ceil(one)} GB", f"{rented(one)} GB", f"{math.ceil(two)} GB", f"{rented(two)} GB"]
        rows.append([learners, *sizes])
    peak, lesson = largest(runs, "own_peak_sum_mb")
    idle, which = largest(runs, "idle_own_sum_mb")
    server = runs["server"]["own_mb"]
    text = (
        f"The sum for 30: 30 × ({peak} MB for lesson {lesson} at its peak + {server} MB for JupyterLab) × {MARGIN} "
        f"margin + {files_mb(runs)} MB program files + {SYSTEM_GB} GB for the system = {gigabytes(runs, 30):.1f} GB.\n"
        f"An old kernel left open adds {idle} MB to the bracket (lesson {which}, finished)."
    )
    return f"{markdown_table(header, rows)}\n\n{text}"


def limit_gb(runs: dict) -> float:
    """What one learner may take: a kernel at its peak, an idle one, the server; half a gigabyte up."""
    own = largest(runs, "own_peak_sum_mb")[0] + largest(runs, "idle_own_sum_mb")[0] + runs["server"]["own_mb"]
    return math.ceil((own + files_mb(runs)) / 500) / 2


def computing_seconds(runs: dict, times: dict[str, int], lesson: str) -> float:
    """Of one kernel with one thread; where that was not measured, the time on two cores twice: more it cannot be."""
    run = lesson_runs(runs).get(lesson)
    return run["computing_s"] if run else 2.0 * times[lesson]


def waiting_table(runs: dict, times: dict[str, int], learners: int = 30) -> str:
    """How long a lesson computes when learners share cores: a kernel has one thread, so k on a core take k times."""
    seconds = {lesson: computing_seconds(runs, times, lesson) for lesson in times}
    chosen = (min(seconds, key=seconds.get), max(seconds, key=seconds.get))
    header = ["cores", "learners per core"]
    for lesson in chosen:
        header += [f"lesson {lesson[:2]}, all at once", f"lesson {lesson[:2]}, one in {AT_ONCE}"]
    rows = []
    for cores in CORES:
        row = [cores, f"{learners / cores:.1f}"]
        for lesson in chosen:
            row += [clock(seconds[lesson] * max(1.0, n / cores)) for n in (learners, learners / AT_ONCE)]
        rows.append(row)
    return markdown_table(header, rows)


def clock(seconds: float) -> str:
    """120 seconds and more in minutes.

    >>> clock(75), clock(281)
    ('75 s', '5 min')
    """
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def tables(runs: dict, times: dict[str, int], machine: str) -> dict[str, str]:
    cores = int(found[1]) if (found := re.search(r"(\d+) cores", machine)) else 1
    limit = f"{limit_gb(runs):g}G"
    settings = ['c.Spawner.environment = {"OMP_NUM_THREADS": "1"}', f'c.Spawner.mem_limit = "{limit}"']
    return {
        "memory": f"{memory_table(runs, times, cores)}\n\nMeasured on: {machine}.",
        "settings": settings_table(runs),
        "sizing": sizing_table(runs),
        "waiting": waiting_table(runs, times),
        "threads": threads_sentence(runs),
        "limits": f"```\nsudo tljh-config set limits.memory {limit}\n```",
        "another hub": "\n".join(["```python", *settings, "c.Spawner.cpu_limit = 2", "```"]),
    }


def filled(page: str, parts: dict[str, str]) -> str:
    """The page with every part between its markers; ValueError when one of them is missing."""
    for name, text in parts.items():
        start, end = f"<!-- measured: {name} -->", "<!-- measured: end -->"
        before, found, rest = page.partition(start)
        old, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"docs/hosting.md lacks the markers {start} and {end}")
        if "<!-- measured: " in old:  # the end that was found belongs to another table
            raise ValueError(f"docs/hosting.md lacks {end} after {start}: the next marker begins another table")
        page = f"{before}{start}\n{text}\n{end}{after}"
    return page


def write_tables(check: bool, page: Path = PAGE, memory: Path = ROOT / "docs" / "measured") -> int:
    runs = Runs("memory", memory)
    present = page.read_text(encoding="utf-8")
    times = json.loads(TIMES.read_text(encoding="utf-8"))
    try:
        wanted = filled(present, tables(runs.runs, times, runs.content["machine"]))
    except ValueError as error:
        print(f"{error}. Nothing was written.", file=sys.stderr)
        return 1
    if not check:
        page.write_text(wanted, encoding="utf-8")
        return 0
    if present == wanted:
        return 0
    print("docs/hosting.md is not what was measured: python scripts/measure_memory.py --write", file=sys.stderr)
    return 1
