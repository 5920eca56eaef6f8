"""docs/hosting.md says what was measured, and what measures it reads the memory of a kernel right."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hosting_tables import filled, gigabytes, limit_gb, rented, tables, write_tables
from measuring import ROOT

PAGE = ROOT / "docs" / "hosting.md"
TIMES = {"00_short": 10, "01_long": 100, "02_unmeasured": 40}


def run(own: int, idle: int, computing: float, load: float = 1.0) -> dict:
    return {
        "peak_mb": own + 400,
        "files_mb": 400,
        "own_peak_sum_mb": own,
        "idle_own_sum_mb": idle,
        "computing_s": computing,
        "load": load,
    }


RUNS = {
    "server": {"now_mb": 120, "own_mb": 100},
    "00_short, one thread": run(500, 400, 12.0),
    "01_long, one thread": run(1000, 300, 90.0, load=9.0),
    "01_long, one thread, 2 at once": run(2000, 600, 95.0),
}


def test_the_page_belongs_to_what_was_measured():
    assert write_tables(check=True) == 0, "python scripts/measure_memory.py --write"


def test_everything_that_a_hub_does_was_measured():
    runs = json.loads((ROOT / "docs" / "measured" / "memory.json").read_text(encoding="utf-8"))["runs"]
    assert "server" in runs
    assert {"02", "03"} <= {key[:2] for key in runs if key.endswith(", one thread")}
    assert any("at once" in key for key in runs)


def test_the_sum_for_many_learners():
    # 30 x (1000 + 100) x 1.3 + 400 MB, and 2 GB for the system
    assert gigabytes(RUNS, 30) == pytest.approx(42.9 + 0.4 + 2)
    assert gigabytes(RUNS, 30, forgotten=True) == pytest.approx(30 * 1.5 * 1.3 + 0.4 + 2)
    assert [rented(gb) for gb in (7.9, 8.0, 8.1)] == [8, 8, 16]
    assert limit_gb(RUNS) == 2.0  # 1000 + 400 + 100 + 400 MB, rounded up to the next half


def test_times_of_a_busy_machine_are_called_upper_limits_and_shared_cores_multiply_them():
    parts = tables(RUNS, TIMES, "CPU, 2 cores, torch 2.15.0")
    short, long = (line for line in parts["memory"].splitlines() if line.startswith(("| 00", "| 01")))
    assert "at most" not in short and "at most 90 s" in long
    four = next(line for line in parts["waiting"].splitlines() if line.startswith("| 4 |"))
    # 30 learners on 4 cores: 7.5 to a core; ten of them: 2.5. The lesson without a measurement counts twice its time.
    assert four == "| 4 | 7.5 | 90 s | 30 s | 11 min | 4 min |"
    assert "lesson 01, one thread | 2 | 2000 | 1000 | 95 s | 1.0 |" in parts["settings"]


def test_threads_are_compared_only_between_busy_runs():
    assert tables(RUNS, TIMES, "CPU, 2 cores")["threads"] == ""
    quiet = RUNS | {"01_long, as it comes": run(900, 300, 70.0, load=2.0)}
    assert tables(quiet, TIMES, "CPU, 2 cores")["threads"] == ""
    busy = RUNS | {"01_long, as it comes": run(900, 300, 400.0, load=10.0)}
    sentence = tables(busy, TIMES, "CPU, 2 cores")["threads"]
    assert "90 s with one thread (load 9.0)" in sentence and "for 400 s with as many threads" in sentence


def test_a_page_without_markers_is_refused():
    page = "a\n<!-- measured: memory -->\nold\n<!-- measured: end -->\nb\n"
    assert filled(page, {"memory": "new"}) == page.replace("old", "new")
    with pytest.raises(ValueError, match="lacks the markers"):
        filled(page, {"sizing": "new"})
    with pytest.raises(ValueError, match="lacks the markers"):
        filled("<!-- measured: memory -->\nold\n", {"memory": "new"})


def test_a_lost_end_marker_swallows_nothing(tmp_path, capsys):
    text = PAGE.read_text(encoding="utf-8")
    start, end = "<!-- measured: memory -->", "<!-- measured: end -->"
    before, _, rest = text.partition(start)
    page = tmp_path / "hosting.md"
    page.write_text(broken := before + start + rest.replace(end, "", 1), encoding="utf-8")
    assert write_tables(check=False, page=page) == 1
    assert f"lacks {end} after {start}" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == broken


def test_a_stale_page_is_noticed(tmp_path, capsys):
    page = tmp_path / "hosting.md"
    page.write_text(PAGE.read_text(encoding="utf-8").replace("MB, once.", "MB, twice."), encoding="utf-8")
    assert write_tables(check=True, page=page) == 1
    assert "measure_memory.py --write" in capsys.readouterr().err
    assert write_tables(check=False, page=page) == 0
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


def test_every_link_on_the_page_leads_somewhere():
    text = PAGE.read_text(encoding="utf-8")
    anchors = {re.sub(r"[^\w\- ]", "", line[3:].lower()).replace(" ", "-")
               for line in text.splitlines() if line.startswith("## ")}  # fmt: skip
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("http"):
            assert (PAGE.parent / target).exists(), target


def test_the_page_and_the_environment_file_name_the_same_python():
    """repo2docker reads `python=3.13` and nothing looser, see docs/hosting.md."""
    lines = (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"  - python\s*=+\s*(\d+\.\d+)", line) for line in lines]
    versions = [match[1] for match in found if match]
    assert len(versions) == 1
    assert f"python={versions[0]}" in PAGE.read_text(encoding="utf-8")


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc"
)


@needs_proc
def test_the_memory_of_a_process_and_of_one_that_is_gone():
    from measure_memory import memory

    code = "import sys; block = bytearray(200_000_000); del block; print(1, flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    size = memory(child.pid)
    child.stdin.close()
    child.wait()
    assert 200 < size["peak"] < 300 and size["now"] < 100  # it was freed before
    assert size["own"] + size["files"] <= size["now"] + 1
    assert set(memory(child.pid).values()) == {0.0}


def test_the_server_is_asked_with_the_token_it_made_up(tmp_path, monkeypatch):
    import measure_memory

    file, asked = tmp_path / "jpserver-1.json", []
    file.write_text('{"url": "http://localhost:8888/", "token": "made-up"}', encoding="utf-8")
    monkeypatch.setattr(
        measure_memory.urllib.request, "urlopen", lambda what, timeout: asked.append(what) or io.BytesIO()
    )
    measure_memory.fetch(file, "lab")
    assert asked[0].full_url == "http://localhost:8888/lab"
    assert asked[0].get_header("Authorization") == "token made-up"


@needs_proc
def test_a_server_is_started_with_a_token_and_stopped_even_if_it_does_not_answer(monkeypatch):
    import measure_memory

    class Started(Exception):
        pass

    def start(command, **_):
        started.extend(command)
        raise Started

    started = []
    monkeypatch.setattr(measure_memory.subprocess, "Popen", start)
    with pytest.raises(Started):
        measure_memory.server()
    assert not any("token" in part for part in started)
    assert ("--allow-root" in started) == (os.geteuid() == 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there a process cannot refuse to end")
def test_a_process_that_does_not_end_is_killed():
    from measure_memory import stop

    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child.stdout.readline()
    stop(child, patience=0.2)
    assert child.returncode == -9


@needs_proc
def test_a_notebook_is_run_and_its_peak_is_seen(tmp_path, monkeypatch):
    from measure_memory import run_at_once

    code = "import os, time\nassert os.environ['OMP_NUM_THREADS'] == '1' and os.environ['CUDA_VISIBLE_DEVICES'] == ''\n"
    code += "assert os.environ.get('MPLBACKEND') != 'module://nowhere'\n"
    code += "block = bytearray(150_000_000)\ntime.sleep(2)\ndel block"
    lesson = tmp_path / "00_tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), lesson)
    monkeypatch.setenv("MPLBACKEND", "module://nowhere")  # must not reach the kernel
    found = run_at_once([lesson], {"OMP_NUM_THREADS": "1"})
    assert found["own_peak_sum_mb"] - found["idle_own_sum_mb"] > 100
    assert found["peak_mb"] > 150 and found["computing_s"] > 0
