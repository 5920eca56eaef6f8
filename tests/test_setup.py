"""scripts/setup_env.py with a fake Python: what a learner reads when something is wrong, and what is left behind.

The fake is a shell script that answers as python, venv, pip and uv would. A file named after a step in the `failures`
folder makes that step print the file and fail. Nothing is installed and no network is used.
"""

import ast
import hashlib
import json
import os
import shutil
import sys
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
import setup_env

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake Python is a shell script")

FAKE_PYTHON = """\
#!/bin/sh
here=HERE
case "$*" in
    *sys.version_info*) step=version ;;
    "-m venv "*) step=venv ;;
    *"-m pip install"*uv) step=pip-uv ;;
    *"-m uv cache"*) step=uv-cache ;;
    *"-m uv pip install"*--dry-run*) step=uv-probe ;;
    *"-m uv pip install"*) step=uv-install ;;
    *.whl/pip" install"*) step=kit-install ;;
    *"-m pip install"*) step=pip-install ;;
    *"import torch"*) step=import ;;
esac
echo "$step $*" >> "$here/log"
if [ -f "$here/failures/$step" ]; then cat "$here/failures/$step"; exit 1; fi
case $step in
    version) cat "$here/version" ;;
    venv) for folder; do :; done; mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python" ;;
esac
exit 0
"""

NO_NETWORK = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)': /simple/uv/
ERROR: Could not find a version that satisfies the requirement uv (from versions: none)
"""
NO_SPACE = "error: Failed to install: torch.whl\n  Caused by: No space left on device (os error 28)\n"
Usage = namedtuple("Usage", "total used free")


class Course:
    """An empty course folder, a fake Python, and knobs for what goes wrong."""

    def __init__(self, folder: Path, monkeypatch, capsys):
        self.folder, self.capsys, self.monkeypatch = folder, capsys, monkeypatch
        self.root, self.venv = folder / "course", folder / "course" / ".venv"
        self.python = folder / "python"
        (folder / "failures").mkdir()
        self.root.mkdir()
        (self.root / "pyproject.toml").write_text("[project]\n")
        (folder / "version").write_text("3.12\n")
        self.python.write_text(FAKE_PYTHON.replace("HERE", str(folder)))
        self.python.chmod(0o755)
        for name, value in {
            "ROOT": self.root,
            "VENV": self.venv,
            "STAMP": self.venv / "course-ready.json",
            "OURS": self.venv / "made-by-the-course",
            "VENV_PYTHON": self.venv / "bin" / "python",
        }.items():
            monkeypatch.setattr(setup_env, name, str(value))
        monkeypatch.setattr(sys, "platform", "linux")
        self.driver(present=False)
        self.free(100)

    def free(self, gigabytes: float):
        self.monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, gigabytes * 1e9))

    def driver(self, present: bool):
        self.monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi" if present else None)

    def fail(self, step: str, text: str = "something else"):
        (self.folder / "failures" / step).write_text(text)

    def mend(self):
        for path in (self.folder / "failures").iterdir():
            path.unlink()

    def setup(self, *arguments: str) -> tuple[int, str]:
        """(exit status, what was printed)"""
        (self.folder / "log").write_text("")
        self.monkeypatch.setattr(sys, "argv", ["setup_env.py", "--python", str(self.python), *arguments])
        return setup_env.main(), self.capsys.readouterr().out

    def steps(self) -> list[str]:
        return [line.split()[0] for line in (self.folder / "log").read_text().splitlines()]

    def stamp(self) -> dict:
        return json.loads((self.venv / "course-ready.json").read_text())


@pytest.fixture
def course(tmp_path, monkeypatch, capsys):
    return Course(tmp_path, monkeypatch, capsys)


def test_first_time_installs_and_second_time_does_nothing(course):
    status, text = course.setup()
    assert (status, course.steps()[-3:]) == (0, ["uv-cache", "uv-install", "import"])
    assert "The environment is ready." in text
    start = time.perf_counter()
    assert course.setup() == (0, "")
    assert time.perf_counter() - start < 1
    assert set(course.steps()) == {"version"}


def test_python_too_old(course):
    (course.folder / "version").write_text("3.8\n")
    status, text = course.setup()
    assert status == 1
    assert "Python 3.11 or newer is needed, this is 3.8." in text
    assert not course.venv.exists()


def test_python_that_does_not_run(course):
    """A version launcher with no such version behind it is found on the PATH, and fails."""
    course.fail("version", "command not found")
    status, text = course.setup()
    assert status == 1
    assert "Python 3.11 or newer is needed, and" in text and "does not run" in text


def test_an_old_python_gets_far_enough_to_say_so(monkeypatch, capsys):
    ast.parse(Path(setup_env.__file__).read_text(encoding="utf-8"), feature_version=(3, 4))
    monkeypatch.setattr(sys, "version_info", (2, 7, 18))
    assert setup_env.main() == 1
    assert capsys.readouterr().out == "Python 3.11 or newer is needed, this is 2.7.\n"


def test_the_running_python_is_taken_when_none_is_asked_for():
    python, version = setup_env.find_python("")
    assert version == sys.version_info[:2]
    assert os.path.realpath(python) == os.path.realpath(sys.executable)  # or, inside .venv, the one it was made from


def test_disk_too_small_before(course):
    course.free(1.5)
    status, text = course.setup()
    assert status == 1
    assert "Not enough disk space: about 3 GB are needed" in text and "1.5 GB are free" in text
    assert not course.venv.exists()


def test_the_ordinary_linux_build_needs_more_disk(course):
    course.free(5)
    course.fail("uv-probe")
    status, text = course.setup()
    assert status == 1
    assert "about 9 GB are needed" in text and "TORCH=cpu" in text
    assert not course.venv.exists()
    course.mend()
    assert course.setup()[0] == 0  # the CPU build fits


@pytest.mark.parametrize("step", ["venv", "pip-uv", "uv-install", "import"])
def test_disk_full_during_installation(course, step):
    course.fail(step, NO_SPACE)
    status, text = course.setup()
    assert status == 1
    assert "The disk is full" in text and "run the same command again" in text
    assert "pip-install" not in course.steps(), "a second try would fill the disk again"
    assert not course.venv.exists()
    course.mend()
    assert course.setup()[0] == 0


def test_index_unreachable(course):
    course.fail("pip-uv", NO_NETWORK)
    status, text = course.setup()
    assert status == 1
    assert "The package index cannot be reached" in text and "proxy" in text
    assert "uv-install" not in course.steps()
    assert not course.venv.exists()


def test_index_lost_in_the_middle(course):
    course.fail("uv-install", "error: Failed to fetch: `torch`\n  Caused by: dns error\n")
    course.fail("pip-install", NO_NETWORK)
    status, text = course.setup()
    assert status == 1
    assert "The package index cannot be reached" in text
    assert not course.venv.exists()


def test_venv_module_missing(course):
    course.fail("venv", "The virtual environment was not created successfully because ensurepip is not available.")
    status, text = course.setup()
    assert status == 1
    assert "sudo apt install python3-venv" in text
    assert not course.venv.exists()


def test_no_build_of_pytorch(course):
    course.fail("uv-install", "No solution found when resolving dependencies: torch has no wheels with a matching tag")
    course.fail("pip-install", "ERROR: No matching distribution found for torch>=2.7")
    status, text = course.setup()
    assert status == 1
    assert "no build of PyTorch for this Python" in text and "conda" in text


def test_pip_takes_over_where_uv_cannot(course):
    course.fail("uv-install")
    status, text = course.setup()
    assert status == 0
    assert "trying once more with pip" in text
    assert course.steps()[-2:] == ["pip-install", "import"]


def test_a_broken_import_is_not_a_ready_environment(course):
    course.fail("import", "ImportError: libgomp.so.1: cannot open shared object file")
    status, text = course.setup()
    assert status == 1
    assert "libgomp" in text
    assert not course.venv.exists()


def test_interrupted_installation_starts_over(course, monkeypatch):
    def interrupted(torch):
        (course.venv / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(setup_env, "install", interrupted)
        status, text = course.setup()
    assert (status, (course.venv / "half").exists()) == (130, True)
    status, text = course.setup()
    assert status == 0
    assert "Removing an unfinished or outdated .venv" in text
    assert not (course.venv / "half").exists()


def test_environment_whose_python_vanished_is_made_again(course):
    course.setup()
    (course.venv / "bin" / "python").unlink()
    assert course.setup()[0] == 0
    assert "venv" in course.steps()


def test_changed_package_list_updates_in_place(course):
    course.setup()
    (course.venv / "mine").touch()
    before = course.stamp()
    (course.root / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    assert course.setup()[0] == 0
    assert "uv-install" in course.steps() and "venv" not in course.steps()
    assert (course.venv / "mine").exists()
    assert course.stamp() != before


def test_failed_update_does_not_count_as_ready(course):
    course.setup()
    (course.root / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    course.fail("uv-install", NO_SPACE)
    assert course.setup()[0] == 1
    course.mend()
    assert course.setup()[0] == 0
    assert "uv-install" in course.steps()


def test_environment_of_somebody_else_is_used_but_never_removed(course):
    (course.venv / "bin").mkdir(parents=True)
    shutil.copy(course.python, course.venv / "bin" / "python")
    (course.venv / "mine").touch()
    assert course.setup()[0] == 0
    assert (course.venv / "mine").exists()

    (course.venv / "bin" / "python").unlink()
    status, text = course.setup()
    assert status == 1
    assert "Delete it, then again." in text
    assert (course.venv / "mine").exists()


def test_cpu_build_on_linux_without_a_graphics_card(course):
    assert course.setup()[0] == 0
    assert course.stamp()["torch"] == "cpu"
    assert "--torch-backend=cpu -e .[dev]" in (course.folder / "log").read_text()


def test_ordinary_build_when_the_cpu_index_is_out_of_reach(course):
    course.fail("uv-probe", "dns error")
    status, text = course.setup()
    assert status == 0
    assert text.count("cannot be reached") == 1
    assert course.stamp()["torch"] == "pypi"
    assert "--torch-backend" not in (course.folder / "log").read_text().splitlines()[-2]


@pytest.mark.parametrize(("platform", "driver"), [("linux", True), ("darwin", False), ("win32", False)])
def test_ordinary_build_elsewhere(course, monkeypatch, platform, driver):
    monkeypatch.setattr(sys, "platform", platform)
    course.driver(driver)
    assert course.setup()[0] == 0
    assert "uv-probe" not in course.steps()
    assert course.stamp()["torch"] == "pypi"


def test_cpu_build_that_was_asked_for_is_not_silently_replaced(course):
    course.fail("uv-install", "dns error")
    status, text = course.setup("--torch", "cpu")
    assert status == 1
    assert "cannot be reached" in text
    assert "pip-install" not in course.steps()


def test_asking_for_another_pytorch_makes_the_environment_again(course):
    course.setup("--torch", "pypi")
    assert course.setup("--torch", "cpu")[0] == 0
    assert "venv" in course.steps()
    assert course.stamp()["torch"] == "cpu"
    assert course.setup() == (0, "")  # "auto" is content with what is there


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """The wheels of an offline kit for this computer and Python 3.12: pip, and a torch of five megabytes."""
    monkeypatch.setattr(setup_env, "this_platform", lambda: "linux")
    folder = tmp_path / "kit" / "wheels"
    folder.mkdir(parents=True)
    for name in ("pip-26.0", "torch-2.15.0", "other-1.0"):
        with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr("content", b"x" * 5_000_000)
    pip = hashlib.sha256((folder / "pip-26.0-py3-none-any.whl").read_bytes()).hexdigest()
    (folder / "linux-3.12.txt").write_text(f"pip==26.0 --hash=sha256:{pip}\ntorch==2.15.0 --hash=sha256:bb\n")
    (folder / "macos-3.13.txt").write_text("")
    return folder


def test_from_an_offline_kit_without_any_network(course, wheels):
    status, text = course.setup("--wheels", str(wheels))
    assert status == 0 and "The environment is ready." in text
    log = [line for line in (course.folder / "log").read_text().splitlines() if "install" in line]
    assert [line.split()[0] for line in log] == ["kit-install", "pip-install"], "uv is not asked, nothing is looked for"
    assert all("--no-index" in line and "--isolated" in line for line in log)
    assert f"--find-links {wheels} --require-hashes -r {wheels}/linux-3.12.txt" in log[0]
    assert "--no-deps --no-build-isolation -e ." in log[1]
    assert "-m venv --without-pip" in (course.folder / "log").read_text()
    assert course.stamp()["torch"] == "pypi"
    assert course.setup("--wheels", str(wheels)) == (0, "")
    assert course.setup() == (0, ""), "with a network later on, it still counts as ready"


def test_the_kit_has_the_cpu_build(course, wheels):
    listed = (wheels / "linux-3.12.txt").read_text()
    (wheels / "linux-3.12.txt").write_text(listed.replace("2.15.0", "2.15.0+cpu"))
    assert course.setup("--wheels", str(wheels))[0] == 0
    assert course.stamp()["torch"] == "cpu"


def test_the_kit_is_for_another_python(course, wheels):
    (course.folder / "version").write_text("3.11\n")
    status, text = course.setup("--wheels", str(wheels))
    assert status == 1
    assert "no packages for linux with Python 3.11" in text
    assert "It has them for: linux with Python 3.12, macos with Python 3.13." in text
    assert not course.venv.exists()


def test_the_kit_knows_how_much_disk_its_packages_take(course, wheels):
    listed = (wheels / "linux-3.12.txt").read_text()
    assert setup_env.unpacked_gigabytes(str(wheels), listed) == pytest.approx(1.1 * 2 * 0.005)
    course.free(0.005)
    course.monkeypatch.setattr(setup_env, "GIGABYTES", {"small": 0, "large": 9})
    status, text = course.setup("--wheels", str(wheels))
    assert status == 1 and "about 0.011 GB are needed" in text
    assert "kit-install" not in course.steps() and not course.venv.exists()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE ...", "A file of the offline kit is damaged"),
        ("ERROR: No matching distribution found for torch==2.15.0", "this system is too old"),
        (NO_SPACE, "The disk is full"),
        ("error: something else", "something else\nInstalling failed"),
    ],
)
def test_failures_while_installing_from_a_kit(course, wheels, output, expected):
    course.fail("kit-install", output)
    status, text = course.setup("--wheels", str(wheels))
    assert status == 1 and expected in text
    assert "network" not in text.replace("no network", "")
    assert not course.venv.exists()


@pytest.mark.parametrize("name", ["torch-2.15.0-py3-none-any.whl", "pip-26.0-py3-none-any.whl"])
@pytest.mark.parametrize("damage", ["cut short", "empty"])
def test_a_wheel_that_is_no_wheel_any_more(course, wheels, name, damage):
    path = wheels / name
    path.write_bytes(path.read_bytes()[:-100] if damage == "cut short" else b"")
    status, text = course.setup("--wheels", str(wheels))
    assert status == 1 and f"A file of the offline kit is damaged: {name}.\n" in text and "verify.py" in text
    assert "kit-install" not in course.steps() and not course.venv.exists()


def test_the_pip_of_a_kit_does_not_run_with_a_changed_byte(course, wheels):
    """pip compares every other wheel with its checksum, but nothing else looks at pip."""
    path = wheels / "pip-26.0-py3-none-any.whl"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    status, text = course.setup("--wheels", str(wheels))
    assert status == 1 and "damaged: pip-26.0" in text
    assert "kit-install" not in course.steps() and not course.venv.exists()


def test_nothing_half_made_is_left_after_a_surprise(course, monkeypatch):
    monkeypatch.setattr(setup_env, "install", lambda torch: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        course.setup()
    assert not course.venv.exists()


def test_a_kit_without_its_pip(course, wheels):
    (wheels / "pip-26.0-py3-none-any.whl").unlink()
    status, text = course.setup("--wheels", str(wheels))
    assert status == 1
    assert "pip-26.0-py3-none-any.whl is missing" in text and "verify.py" in text


@pytest.mark.parametrize(
    ("system", "machine", "build", "name"),
    [
        ("linux", "x86_64", "linux-x86_64", "linux"),
        ("linux", "aarch64", "linux-aarch64", "linux-arm"),
        ("linux", "riscv64", "linux-riscv64", "linux on riscv64"),
        ("darwin", "arm64", "macosx-11.0-universal2", "macos"),
        ("darwin", "x86_64", "macosx-10.13-universal2", "macos on x86_64"),
        ("win32", "AMD64", "win-amd64", "windows"),
        ("win32", "ARM64", "win-amd64", "windows"),
        ("win32", "ARM64", "win-arm64", "win-arm64"),
        ("win32", "AMD64", "win32", "win32"),
    ],
)
def test_what_a_kit_calls_this_computer(monkeypatch, system, machine, build, name):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(setup_env.platform, "machine", lambda: machine)
    monkeypatch.setattr(setup_env.sysconfig, "get_platform", lambda: build)
    assert setup_env.this_platform() == name
