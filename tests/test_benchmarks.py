"""The benchmark runs at tiny sizes, says what misses its target, and docs/results.md shows what it found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bench(monkeypatch):
    """The files of benchmarks/ import each other by name, as they do from the command line."""
    for folder in ("scripts", "benchmarks"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    import bench

    return bench


@pytest.mark.parametrize(
    ("value", "target", "verdict"),
    [
        (1.02, "<= 1.02", "pass"),
        (1.0204, "<= 1.02", "MISS"),
        (14.9, ">= 15", "MISS"),
        (15.0, ">= 15", "pass"),
        ("bfloat16", "= bfloat16", "pass"),
        ("failed", "= passed", "MISS"),
        (3.0, "", ""),
    ],
)
def test_a_row_says_whether_it_meets_its_target(bench, value, target, verdict):
    assert bench.Row("a ratio", value, target).verdict == verdict
    assert bench.Row("a ratio", value, target).met == (verdict != "MISS")


def test_a_row_that_could_not_run_says_why_and_misses_nothing(bench):
    row = bench.Row("on a GPU", target=">= 0.9", problem="no CUDA device")
    assert row.met and row.verdict == "not run" and "no CUDA device" in bench.table([row])


def test_the_table_shows_target_and_verdict_beside_the_value(bench):
    lines = bench.table([bench.Row("a", 1.5, "<= 1.02", note="x 3 s"), bench.Row("longer", 2.0, ">= 2")]).splitlines()
    assert lines[1].split() == ["a", "1.500", "x", "<=", "1.02", "MISS", "x", "3", "s"]
    assert lines[2].split() == ["longer", "2.00", "x", ">=", "2", "pass"]
    assert lines[0].index("target") == lines[1].index("<=") == lines[2].index(">=")


def test_ways_take_turns_and_a_ratio_compares_within_a_round(bench):
    import timing

    order = []

    def way(name, seconds):
        def run(clock):
            order.append(name)
            clock.seconds = seconds.pop(0)

        return run

    # the machine is ten times slower in the last round: the ratio of that round is the same
    found = timing.interleaved({"A": way("A", [2.0, 2.0, 20.0]), "B": way("B", [1.0, 1.0, 10.0])}, rounds=3)
    assert order == ["A", "B", "B", "A", "A", "B"]
    assert found.ratio("A", "B") == 2.0 and found.median("A") == 2.0
    assert found.spread("A", "B") == "2.00 to 2.00 in 3 rounds"


def measured(bench, monkeypatch, rows):
    monkeypatch.setattr(bench, "measure_in_fresh_process", lambda item, *_: rows[item])


def test_a_missed_target_is_the_exit_status(bench, monkeypatch, capsys):
    rows = {"loop": [bench.Row("tl.fit / loop", 1.5, "<= 1.02")], "frozen": [bench.Row("cached", 18.0, ">= 15")]}
    measured(bench, monkeypatch, rows)
    assert bench.main(["--only", "frozen", "--print-only"]) == 0
    assert "No target is missed" in capsys.readouterr().out
    assert bench.main(["--only", "frozen", "loop", "--print-only"]) == 1
    out = capsys.readouterr().out
    assert "MISS" in out and "1 missed: tl.fit / loop" in out and "torch" in out


def test_a_finished_run_is_kept_and_the_page_shows_it(bench, monkeypatch, tmp_path):
    import measuring
    import write_results

    monkeypatch.setattr(measuring, "MEASURED", tmp_path)
    monkeypatch.setattr(measuring.Runs.__init__, "__defaults__", (tmp_path,))
    monkeypatch.setattr(write_results, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(write_results, "SCRIPTS", ["bench"])
    rows = {
        "loop": [bench.Row("tl.fit / loop", 1.0, "<= 1.02", note="first")],
        "gpu": [bench.Row("GPU", problem="none")],
    }
    measured(bench, monkeypatch, rows)
    assert bench.main(["--only", "loop", "gpu"]) == 0
    rows["loop"][0].value, rows["loop"][0].note = 1.25, "second"
    assert bench.main(["--only", "loop"]) == 1  # measured anew, the rest is kept
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert set(kept["runs"]) == {"loop", "gpu"} and kept["runs"]["loop"][0]["value"] == 1.25
    page = (tmp_path / "results.md").read_text()
    assert "| tl.fit / loop | 1.250 x | <= 1.02 | MISS | second |" in page and "first" not in page
    assert "| GPU | - |  | not run | none |" in page and f"Measured on: {kept['machine']}" in page
    assert write_results.main(["--check"]) == 0
    monkeypatch.setattr(measuring, "machine", lambda: "another machine")
    bench.main(["--only", "gpu"])
    assert set(json.loads((tmp_path / "bench.json").read_text())["runs"]) == {"gpu"}  # never two machines in one table


def test_quick_keeps_nothing(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "keep", lambda *_: pytest.fail("a quick run was kept"))
    measured(bench, monkeypatch, {"gpu": [bench.Row("GPU", 1.0)]})
    for option in ("--quick", "--cpu-time", "--print-only"):
        assert bench.main(["--only", "gpu", option]) == 0


def test_the_command_measures_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "bench.py", "--quick", "--rounds", "1", "--only", "gpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert "GPU: precision" in done.stdout and "Measured on:" in done.stdout
    assert ("No target is missed" in done.stdout) == (done.returncode == 0)


def test_the_seconds_of_an_import_are_those_after_the_first_ones(bench, monkeypatch):
    import bench_course

    whole, last = bench_course.seconds_of_import("import json\nmiddle = time.perf_counter()")
    assert whole > last >= 0
    seconds = {bench_course.IMPORTS["torch"]: (2.0, 2.0), bench_course.IMPORTS["tlhelpers"]: (2.4, 0.4)}
    monkeypatch.setattr(bench_course, "seconds_of_import", seconds.get)
    (row,) = bench_course.imports(3, False)
    assert (row.value, row.target, row.verdict) == (0.4, "<= 0.3", "MISS")


def test_an_item_that_crashes_is_a_missed_row(bench, monkeypatch):
    monkeypatch.setattr(bench, "__file__", str(ROOT / "no_such_file.py"))  # what the process is told to run
    (row,) = bench.measure_in_fresh_process("loop", 1, True)
    assert row.verdict == "MISS" and "status 2" in row.note


@pytest.mark.parametrize("item", ["loop", "frozen", "gradual"])
def test_every_training_item_runs_at_tiny_sizes(bench, item):
    rows = bench.measure(item, 1, True)
    assert rows and all(isinstance(row, bench.Row) and row.value is not None for row in rows)
    if item == "gradual":
        assert rows[3].value < 1e-3, "cached and plain give the same scores"
    assert bench.section({item: [row.to_dict() for row in rows]}).count("\n| ") == len(rows) + 1


def test_a_library_that_is_missing_says_so(bench, monkeypatch):
    import bench_training

    monkeypatch.setitem(sys.modules, "fastai", None)  # import fastai fails
    monkeypatch.setitem(sys.modules, "lightning", None)
    rows = bench_training.others(1, True)
    assert [row.verdict for row in rows] == ["not run", "not run"] and all("fit" in row.what for row in rows)


def test_the_data_keep_up_code_runs_without_a_gpu(bench):
    import bench_gpu
    import torch

    row = bench_gpu.throughput(torch.device("cpu"), 1, True)
    assert row.target == ">= 0.9" and float(row.value) > 0


def notebook(folder, name, source):
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    content = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / name).write_text(json.dumps(content))
    return folder / name


def test_lessons_are_run_timed_and_weighed(bench, tmp_path):
    good = notebook(tmp_path, "00_good.ipynb", "ballast = b'x' * 400_000_000")
    bad = notebook(tmp_path, "01_bad.ipynb", "1 / 0")
    # from a small process, as the command does it: a new process begins with the memory of the one that starts it
    program = (
        f"import json, sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\n"
        "from pathlib import Path; from bench_course import lessons\n"
        f"rows = lessons(1, False, [Path({str(good)!r}), Path({str(bad)!r})])\n"
        "print(json.dumps([row.to_dict() for row in rows]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    rows = [bench.Row(**row) for row in json.loads(done.stdout)]
    assert [row.verdict for row in rows[:2]] == ["", "MISS"] and "1 failed" in rows[1].note
    assert [row.verdict for row in rows[2:]] == ["not run", "not run"]
    if sys.platform.startswith("linux"):
        assert "0.40" <= rows[0].note.split()[2] < "0.70"  # the kernel's, not only that of pytest
