"""Measure what a learner costs a shared server: memory of a kernel per lesson, of several at once, of JupyterLab.

python scripts/measure_memory.py            measure what docs/measured/memory.json lacks, half an hour; write the tables
python scripts/measure_memory.py --write    measure nothing, write the tables of docs/hosting.md
python scripts/measure_memory.py --check    write nothing, fail when the tables do not belong to the measurements
python scripts/measure_memory.py --quick    try it out: lesson 00 only, nothing is kept (two minutes)

Linux only: memory is read from /proc. Each kernel is a process of its own without a graphics card, as on a hub, and
runs a solution notebook from top to bottom. MB are 10**6 bytes. A kernel's memory has two parts: its own (arrays,
models) and program files (PyTorch's libraries above all), which a server holds once for all kernels of an installation.

Time is computing time: seconds on a core, not on the clock. On a busy machine it grows too, though less. So each run
notes the load of the machine, and the page says when it was busy. To measure a run again, delete its key from the file.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from hosting_tables import write_tables
from measuring import ROOT, Runs
from nbclient import NotebookClient

SOLUTIONS = ROOT / "notebooks" / "solutions"
TOGETHER = ("02", "03")  # the lessons that several kernels run at once
# What a hub may set for every kernel. "as it comes" leaves PyTorch all cores.
SETTINGS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "as it comes": {},
    "one thread, two arenas": {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
}
UNSET = ("OMP_NUM_THREADS", "MALLOC_ARENA_MAX", "MPLBACKEND", "TLHELPERS_PROFILE")


def memory(pid: int) -> dict[str, float]:
    """A process's memory in MB: its peak, what it has now, how much of that is its own and how much program files."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        text = ""
    sizes = {name: int(kb) * 1024 / 1e6 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    names = {"peak": "VmHWM", "now": "VmRSS", "own": "RssAnon", "files": "RssFile"}
    return {ours: sizes.get(theirs, 0.0) for ours, theirs in names.items()}


def proportional(pid: int) -> float:
    """PSS in MB: a page that n processes share counts as one nth of it, other people's processes included."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 / 1e6


def computing_seconds(pid: int) -> float:
    """Seconds of computing of a process so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Learner:
    """One notebook in a kernel of its own."""

    def __init__(self, lesson: Path, settings: dict[str, str]) -> None:
        self.notebook, self.folder = nbformat.read(lesson, as_version=4), lesson.parent
        inherited = {k: v for k, v in os.environ.items() if k not in UNSET}
        self.environment = {**inherited, "CUDA_VISIBLE_DEVICES": "", **settings}
        self.pid: int | None = None
        self.found: dict[str, float] = {}

    def work(self, all_done: threading.Barrier) -> None:
        """Run every cell, note memory and time; the idle kernels are read side by side, once all have finished."""
        client = NotebookClient(
            self.notebook,
            timeout=3600,
            kernel_name="python3",
            extra_arguments=["--IPKernelApp.log_level=40"],
            resources={"metadata": {"path": str(self.folder)}},
        )
        try:
            start = time.perf_counter()
            with client.setup_kernel(env=self.environment):
                self.pid = client.km.provisioner.process.pid
                for index, cell in enumerate(self.notebook.cells):
                    client.execute_cell(cell, index)
                seconds, computing = time.perf_counter() - start, computing_seconds(self.pid)
                all_done.wait()
                size = memory(self.pid)
                self.found = {"peak_mb": size["peak"], "idle_mb": size["now"], "files_mb": size["files"]}
                self.found |= {"idle_own_mb": size["own"], "idle_pss_mb": proportional(self.pid)}
                self.found |= {"computing_s": computing, "elapsed_s": seconds}
                all_done.wait()
        except BaseException:
            all_done.abort()  # or the others would wait for ever
            raise


def run_at_once(lessons: list[Path], settings: dict[str, str]) -> dict[str, float]:
    """Run the lessons side by side. Sums of what is each kernel's own, the largest share of files, mean times."""
    learners = [Learner(lesson, settings) for lesson in lessons]
    barrier, own_peak = threading.Barrier(len(learners)), 0.0
    with ThreadPoolExecutor(len(learners)) as pool:
        jobs = [pool.submit(learner.work, barrier) for learner in learners]
        while not all(job.done() for job in jobs):
            own_peak = max(own_peak, sum(memory(learner.pid)["own"] for learner in learners if learner.pid))
            time.sleep(0.1)
        for job in jobs:
            job.result()
    column = {key: [learner.found[key] for learner in learners] for key in learners[0].found}
    return {
        "peak_mb": round(max(column["peak_mb"])),  # of one kernel, program files included
        "files_mb": round(max(column["files_mb"])),  # on the machine once
        "own_peak_sum_mb": round(own_peak),  # the most that all had at one moment
        "idle_own_sum_mb": round(sum(column["idle_own_mb"])),
        "idle_pss_sum_mb": round(sum(column["idle_pss_mb"])),
        "computing_s": round(sum(column["computing_s"]) / len(learners), 1),
        "elapsed_s": round(sum(column["elapsed_s"]) / len(learners), 1),
        "load": round(os.getloadavg()[0], 1),
    }


def server() -> dict[str, float]:
    """The memory of one learner's JupyterLab server after its page and a notebook were fetched, without any kernel."""
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.port=0"]
    command += [f"--ServerApp.root_dir={ROOT}"]
    command += ["--allow-root"] if os.geteuid() == 0 else []  # in a container; otherwise Jupyter refuses to start there
    with tempfile.TemporaryDirectory() as runtime:
        environment = {**os.environ, "JUPYTER_RUNTIME_DIR": runtime}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        try:
            for page in ("lab", "lab/api/settings", "api/contents/notebooks/03_fine_tuning.ipynb"):
                fetch(Path(runtime) / f"jpserver-{process.pid}.json", page)
            return {f"{name}_mb": round(value) for name, value in memory(process.pid).items()}
        finally:
            stop(process)


def stop(process: subprocess.Popen, patience: float = 30) -> None:
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def fetch(server_file: Path, page: str, patience: float = 120) -> None:
    """Get a page of a Jupyter server that may still be starting."""
    deadline = time.perf_counter() + patience
    while True:
        try:
            running = json.loads(server_file.read_text())  # Jupyter writes it, readable to this user only
            request = urllib.request.Request(running["url"] + page)
            request.add_header("Authorization", f"token {running['token']}")
            urllib.request.urlopen(request, timeout=60).read()
            return
        except (OSError, ValueError) as error:
            if time.perf_counter() > deadline:
                raise SystemExit(f"JupyterLab does not answer ({error}): try `jupyter lab` by hand") from error
            time.sleep(0.5)


def plan(lessons: list[Path], several: list[Path]) -> dict[str, tuple[list[Path], str]]:
    """What to measure, {key: (a lesson for each kernel, setting)}: first what a hub does, then what else there is."""
    runs = {f"{one.stem}, one thread": ([one], "one thread") for one in reversed(lessons)}
    for count in (2, 4):
        runs |= {f"{one.stem}, one thread, {count} at once": ([one] * count, "one thread") for one in several}
    for setting in ("as it comes", "one thread, two arenas"):
        runs |= {f"{one.stem}, {setting}": ([one], setting) for one in several}
    return runs


def measure(runs: Runs, quick: bool = False) -> None:
    """Whatever is not in the file yet. `quick` is for trying this script out: lesson 00, one kernel and two."""
    lessons = sorted(SOLUTIONS.glob("[0-9][0-9]_*.ipynb"))[: 1 if quick else None]
    several = lessons if quick else [lesson for lesson in lessons if lesson.name.startswith(TOGETHER)]
    runs.once("server", server)
    for key, (notebooks, setting) in plan(lessons, several).items():
        if not quick or len(notebooks) < 4:
            runs.once(key, lambda what=notebooks, variables=SETTINGS[setting]: run_at_once(what, variables))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="measure nothing, write the tables of docs/hosting.md")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the tables are stale")
    parser.add_argument("--quick", action="store_true", help="try it out: lesson 00 only, nothing is kept")
    options = parser.parse_args(arguments)
    if options.write or options.check:
        return write_tables(check=options.check)
    if not Path("/proc/self/smaps_rollup").exists():
        parser.error("memory is read from /proc/PID/smaps_rollup, which only Linux has: run this on Linux")
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            measure(Runs("memory", Path(folder)), quick=True)
        return 0
    measure(Runs("memory"))
    return write_tables(check=False)


if __name__ == "__main__":
    sys.exit(main())
