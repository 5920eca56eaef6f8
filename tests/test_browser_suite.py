"""What stands around the browser tests: how a browser is found, why they are skipped, .ci/run. No browser needed."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import find_browser
import pytest

ROOT = Path(__file__).parent.parent
suite = importlib.import_module("browser.conftest")
needs_sh = pytest.mark.skipif(os.name == "nt" or not shutil.which("sh"), reason=".ci/run is a script for sh")


def program(path: Path, text: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@needs_sh
def test_the_first_browser_on_the_path_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(find_browser, "APPS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser.find_browser() is None
    chrome = program(tmp_path / "google-chrome")
    assert find_browser.find_browser() == str(chrome)
    chromium = program(tmp_path / "chromium")
    assert find_browser.find_browser() == str(chromium)
    assert find_browser.find_browser("google-chrome") == str(chrome)
    assert find_browser.find_browser("no-such-browser") is None


def test_a_skip_says_what_to_install(monkeypatch):
    monkeypatch.setattr(suite.importlib.util, "find_spec", lambda name: None)
    assert '".[browser]"' in suite.why_not("chromium")
    monkeypatch.setattr(suite.importlib.util, "find_spec", lambda name: True)
    assert "apt install chromium" in suite.why_not(None)
    assert suite.why_not("chromium") == ""


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["tests", "tlhelpers", "notebooks"], False),
        (["tests/test_packaging.py"], False),
        (["tests/browser"], True),
        (["tests/browser/test_lessons.py::test_there_are_nine_lessons"], True),
    ],
)
def test_only_who_names_the_browser_tests_gets_them(arguments, wanted):
    config = SimpleNamespace(args=arguments, invocation_params=SimpleNamespace(dir=ROOT))
    assert suite.named(config) is wanted
    assert suite.pytest_ignore_collect(suite.HERE / "test_lessons.py", config) is (None if wanted else True)


@needs_sh
@pytest.mark.parametrize(
    ("fails", "code", "ran"),
    [
        ("nothing", 0, ["env", "test", "test-browser"]),
        ("make env", 1, ["env"]),
        ("make test", 1, ["env", "test", "test-browser"]),
        ("make test-browser", 1, ["env", "test", "test-browser"]),
        ("pip", 0, ["env", "test", "test-browser"]),
    ],
)
def test_ci_runs_both_suites_and_fails_with_either(tmp_path, fails, code, ran):
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    program(tmp_path / "bin" / "make", f'echo "make $1" >> log\n[ "make $1" != "{fails}" ]')
    program(tmp_path / ".venv" / "bin" / "python", f'case "$*" in *"{fails}"*) exit 1;; esac')
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = ["sh", str(tmp_path / ".ci" / "run")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == code, result.stderr
    assert (tmp_path / "log").read_text(encoding="utf-8").split() == [word for name in ran for word in ("make", name)]
    assert ("Not installed" in result.stdout) == (fails == "pip")


def test_finding_a_browser_is_a_program_too(tmp_path):
    result = subprocess.run([sys.executable, find_browser.__file__], capture_output=True, text=True)
    assert result.returncode == (find_browser.find_browser() is None)
    assert result.stdout.strip() == (find_browser.find_browser() or "no Chromium or Chrome found")
