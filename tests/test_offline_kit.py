"""scripts/offline_kit.py with a made-up course and made-up wheels: what is in the kit, what goes wrong, what is left.

uv and pip's download are played by `Market.run`; git, and the installation that the start script does, are real.
"""

import base64
import errno
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import kit_wheels
import offline_kit
import pytest
import setup_env
from kit_wheels import KitError, Target

HERE = ".".join(map(str, sys.version_info[:2]))
SYSTEM = setup_env.this_platform()
SCRIPT, AGAIN = (
    ("start-macos.command", "start-course.command") if SYSTEM == "macos" else ("start-linux.sh", "start-course.sh")
)
NO_NETWORK = "error: Failed to fetch: `torch`\n  Caused by: dns error\n"
Usage = namedtuple("Usage", "total used free")
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the start script under test is a shell script"),
    pytest.mark.skipif(SYSTEM not in kit_wheels.PLATFORMS, reason=f"there is no kit for {SYSTEM}"),
]

BACKEND = '''
"""The smallest build backend that can make an editable installation."""
import pathlib, zipfile

def build_editable(folder, settings=None, metadata=None):
    name = "tlhelpers-0.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        info = "tlhelpers-0.0.dist-info/"
        wheel.writestr("course.pth", str(pathlib.Path.cwd()))
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: tlhelpers\\nVersion: 0.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
'''
# In place of the real program, where a test is about what comes before: an environment that is only this Python.
QUICK_SETUP = """
import pathlib, sys
print("Installing", *sys.argv[-2:])
python = pathlib.Path(".venv/bin/python")
python.parent.mkdir(parents=True, exist_ok=True)
if not python.exists():
    python.symlink_to(sys.executable)
"""
PROJECT = """
[project]
name = "tlhelpers"
version = "0.0"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def make_wheel(folder: Path, name: str, files: dict[str, str], tag: str = "py3-none-any") -> Path:
    """A wheel of version 1.0 that pip installs."""
    path, info = folder / f"{name}-1.0-{tag}.whl", f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text)}\n"
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def pip_wheel() -> Path:
    """The pip that comes with Python; Debian keeps it elsewhere."""
    import ensurepip

    folders = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    found = [path for folder in folders for path in folder.glob("pip-*-py3-none-any.whl")]
    if not found:
        pytest.skip("this Python brings no wheel of pip")
    return found[0]


class Market:
    """A made-up package index, and the fake uv and pip that use it."""

    def __init__(self, folder: Path):
        self.folder, self.fetched, self.asked, self.failures = folder, [], [], {}
        folder.mkdir()
        shutil.copy(pip_wheel(), folder)
        make_wheel(folder, "torch", {"torch/__init__.py": ""})
        make_wheel(folder, "torchvision", {"torchvision/__init__.py": ""})
        make_wheel(folder, "jupyter", {"jupyter/__main__.py": "import sys; print('JUPYTER', *sys.argv[1:])"})

    def lock(self) -> str:
        text = 'lock-version = "1.0"\n'
        for path in sorted(self.folder.iterdir()):
            name, version = path.name.split("-")[:2]
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            text += f'[[packages]]\nname = "{name}"\nversion = "{version}"\n'
            text += f'wheels = [{{ url = "{path.as_uri()}", hashes = {{ sha256 = "{digest}" }} }}]\n'
        return text

    def run(self, command: list, **environment):
        words = [str(word) for word in command]
        step = next((name for name in ("git", "compile", "download", "install", "--version") if name in words), "?")
        if step == "git":
            return self.git(command, **environment)
        if step == "compile":
            self.asked.append(words)
            if any(word.startswith("--torch-backend") for word in words) and "backend" in self.failures:
                return 1, self.failures["backend"]
        if step == "download":
            file = words[-1].split("#")[0].rsplit("/", 1)[1]
            if file.split("-")[0] in self.failures:
                return 1, self.failures[file.split("-")[0]]
            self.fetched.append(file)
            self.download = words
            shutil.copy(self.folder / file, words[words.index("--dest") + 1])
        if step in self.failures:
            return 1, self.failures[step]
        if step == "compile":
            Path(words[words.index("--output-file") + 1]).write_text(self.lock())
        return 0, ""


class Kit:
    """A small course in git, and a place for its kit."""

    def __init__(self, folder: Path, monkeypatch, capsys):
        self.folder, self.capsys, self.monkeypatch = folder, capsys, monkeypatch
        self.out, self.course, self.home = folder / "kit", folder / "course", folder / "home"
        self.market = Market(folder / "market")
        self.market.git = kit_wheels.run
        for path, text in {
            "pyproject.toml": PROJECT,
            "backend.py": BACKEND,
            "tlhelpers/__init__.py": "",
            "tlhelpers/__main__.py": "print('OK  the room check')",
            "notebooks/00_start_here.ipynb": "{}",
        }.items():
            (self.course / path).parent.mkdir(parents=True, exist_ok=True)
            (self.course / path).write_text(text)
        (self.course / "scripts").mkdir()
        (self.course / "scripts" / "setup_env.py").write_text(QUICK_SETUP)
        self.home.mkdir()
        monkeypatch.setattr(kit_wheels, "ROOT", self.course)
        monkeypatch.setattr(offline_kit, "ROOT", self.course)
        monkeypatch.setattr(kit_wheels, "run", self.market.run)
        monkeypatch.setattr(offline_kit, "run", self.market.run)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("The course")

    def git(self, *words: str):
        settings = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *settings, *words], cwd=self.course, check=True, capture_output=True, text=True)

    def commit(self, text: str):
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", text)

    def make(self, *arguments: str) -> tuple[int, str]:
        """(exit status, what was printed)"""
        self.market.fetched.clear()
        self.market.asked.clear()
        status = offline_kit.main(["--out", str(self.out), *arguments])
        printed = self.capsys.readouterr()
        return status, printed.out + printed.err

    def real_setup(self):
        shutil.copy(setup_env.__file__, self.course / "scripts")
        self.commit("The real installation")

    def verify(self, *options: str) -> tuple[int, str]:
        return call([sys.executable, "-B", *options, str(self.out / "verify.py")])

    def start(self, *arguments: str, without_network: tuple = (), answers: tuple = ()) -> tuple[int, str]:
        """Run the start script as a learner with an empty home would, who sits on the stick and types these answers.
        Their Python has the usual name."""
        programs = self.folder / "programs"
        programs.mkdir(exist_ok=True)
        if not (programs / f"python{HERE}").exists():
            (programs / f"python{HERE}").symlink_to(os.path.realpath(sys.executable))
        environment = {
            "HOME": str(self.home),
            "PATH": f"{programs}:/usr/bin:/bin",
            "PIP_INDEX_URL": "http://127.0.0.1:9/",
        }
        command = [*without_network, "sh", str(self.out / SCRIPT), *arguments]
        return call(command, answers, cwd=self.out, env=environment)


def call(command: list[str], answers: tuple = (), **options) -> tuple[int, str]:
    """(exit status, what was printed) of a program without a keyboard, or with one at which somebody types."""
    keyboard, stdin = os.openpty() if answers else (None, subprocess.DEVNULL)
    try:
        if answers:
            os.write(keyboard, "".join(f"{answer}\n" for answer in answers).encode())
        done = subprocess.run(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )
    finally:
        for handle in (keyboard, stdin) if answers else ():
            os.close(handle)
    return done.returncode, done.stdout


@pytest.fixture
def kit(tmp_path, monkeypatch, capsys):
    return Kit(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="session")
def cut_off() -> tuple[str, ...]:
    """What runs a command where there is no network at all, not even this computer's own. Where the system allows that
    to nobody (and on macOS), everything is sent to a proxy that does not answer."""
    prefix = ("unshare", "--map-root-user", "--net")
    if shutil.which("unshare") and not subprocess.run([*prefix, "true"], capture_output=True).returncode:
        return prefix
    names = [f"{kind}_proxy" for kind in ("http", "https", "all")]
    return ("env", *(f"{name}=http://127.0.0.1:9" for name in names + [name.upper() for name in names]))


def test_what_is_in_the_kit(kit):
    (kit.course / "notebooks" / "mine.ipynb").write_text("not committed")
    (kit.course / "backend.py").write_text("changed")
    status, text = kit.make()
    assert status == 0 and "The kit is ready" in text
    assert "NOT in the kit, because not committed: 2 changed or new: backend.py, notebooks/mine.ipynb\n" in text

    with zipfile.ZipFile(kit.out / "course.zip") as archive:
        names = set(archive.namelist())
    assert {"pyproject.toml", "notebooks/00_start_here.ipynb", "scripts/setup_env.py"} <= names
    assert "notebooks/mine.ipynb" not in names and not any(name.startswith(".git/") for name in names)

    wheels = {path.name for path in (kit.out / "wheels").glob("*.whl")}
    assert wheels == {path.name for path in kit.market.folder.iterdir()}
    listed = (kit.out / "wheels" / f"{SYSTEM}-{HERE}.txt").read_text()
    assert listed.count(" --hash=sha256:") == len(wheels) and "torch==1.0 " in listed
    about = json.loads((kit.out / "kit.json").read_text())
    assert about["commit"] == kit.git("rev-parse", "HEAD").stdout.strip()
    assert [(entry["platform"], entry["python"], entry["torch"]) for entry in about["kits"]] == [(SYSTEM, HERE, "1.0")]
    assert not [path for path in kit.out.rglob("*") if ".tmp" in path.name or ".fetching" in path.name]


def test_start_scripts_are_filled_in_and_have_the_line_ends_of_their_system(kit):
    assert kit.make("--pythons", "3.12,3.13")[0] == 0
    for name in ("start-linux.sh", "start-macos.command"):
        text = (kit.out / name).read_bytes()
        assert text.startswith(b"#!/bin/sh\n") and b"\r" not in text
        assert b"for name in python3.12 python3.13 python3 python; do" in text and b"[(3, 12), (3, 13)]" in text
        assert os.access(kit.out / name, os.X_OK)
        assert call(["sh", "-n", str(kit.out / name)])[0] == 0
    windows = (kit.out / "start-windows.bat").read_bytes()
    assert windows.startswith(b"@echo off\r\n") and windows.count(b"\n") == windows.count(b"\r\n")
    assert b'for %%V in (3.12 3.13) do call :try "py -%%V"\r\n' in windows
    readme = (kit.out / "README.txt").read_bytes()
    assert b"3.12 or 3.13" in readme and readme.count(b"\n") == readme.count(b"\r\n")
    assert b"@" not in readme and windows.count(b"@") == 1  # no place was left empty


def test_checksums_show_a_changed_a_missing_and_no_file(kit):
    kit.make()
    listed = {line.split("  ", 1)[1] for line in (kit.out / "SHA256SUMS").read_text().splitlines()}
    whole = (0, f"All {len(listed)} files are here and undamaged.\n")
    assert kit.verify() == whole
    assert kit.verify("-X", "warn_default_encoding", "-W", "error") == whole, "the same in every language of Windows"
    present = {path.relative_to(kit.out).as_posix() for path in kit.out.rglob("*") if path.is_file()}
    assert listed == present - {"SHA256SUMS", "python/PUT-INSTALLERS-HERE.txt"}
    if shutil.which("sha256sum"):
        assert call(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=kit.out)[0] == 0

    (kit.out / "python" / "python-installer.exe").write_text("added later")
    assert kit.verify()[0] == 0
    wheel = next((kit.out / "wheels").glob("torch-*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"x")
    (kit.out / "course.zip").unlink()
    status, text = kit.verify()
    assert status == 1
    assert f"wheels/{wheel.name} is damaged" in text and "course.zip is missing" in text and "2 of" in text
    sums = (kit.out / "SHA256SUMS").read_text()
    for bad in (sums[:30], sums[:-5] + "\n" + sums[:70], "", "\0" * 100):
        (kit.out / "SHA256SUMS").write_text(bad)
        status, text = kit.verify()
        assert status == 1 and "Traceback" not in text and ("SHA256SUMS is damaged" in text or "is missing" in text)
    (kit.out / "SHA256SUMS").unlink()
    assert kit.verify()[0] == 1


def test_what_is_not_of_the_kit_is_no_damage_when_it_changes(kit):
    """Installers, and what macOS and Windows leave on a stick: some when the kit is made, gone or new in the copy."""
    kit.make()
    strangers = ["python/python-3.12.exe", ".DS_Store", "._course.zip", "wheels/._torch-1.0-py3-none-any.whl"]
    strangers += ["wheels/Thumbs.db", "System Volume Information/WPSettings.dat", "wheels/own-2.0-py3-none-any.whl"]
    for name in strangers:
        (kit.out / name).parent.mkdir(exist_ok=True)
        (kit.out / name).write_text("one")
    assert kit.make()[0] == 0
    assert all((kit.out / name).read_text() == "one" for name in strangers)
    for name in strangers[::2]:
        (kit.out / name).unlink()
    for name in strangers[1::2]:
        (kit.out / name).write_text("two")
    (kit.out / "python" / "PUT-INSTALLERS-HERE.txt").unlink()
    assert kit.verify()[0] == 0
    assert kit.start("--check")[0] == 0


def test_what_is_there_is_not_fetched_again_and_what_is_damaged_is(kit):
    kit.make()
    assert len(kit.market.fetched) == 4
    (kit.out / "python" / "installer.pkg").write_text("the instructor's")
    (kit.out / "wheels" / ".fetching-killed").mkdir()
    assert kit.make()[0] == 0
    assert kit.market.fetched == []
    assert (kit.out / "python" / "installer.pkg").exists()
    assert not list((kit.out / "wheels").glob(".fetching*"))

    (kit.out / "wheels" / "torch-1.0-py3-none-any.whl").write_text("half")
    assert kit.make()[0] == 0
    assert kit.market.fetched == ["torch-1.0-py3-none-any.whl"]


def test_only_wheels_of_an_earlier_kit_are_removed(kit):
    make_wheel(kit.market.folder, "late", {})
    kit.make()
    (kit.out / "wheels" / "own-2.0-py3-none-any.whl").write_text("the instructor's")
    (kit.out / "wheels" / "notes.txt").write_text("the instructor's")
    (kit.market.folder / "late-1.0-py3-none-any.whl").unlink()
    make_wheel(kit.market.folder, "early", {})
    kit.market.failures["torch"] = NO_NETWORK  # and an interrupted run does not forget what it has fetched
    (kit.out / "wheels" / "torch-1.0-py3-none-any.whl").unlink()
    assert kit.make()[0] == 1
    (kit.market.folder / "early-1.0-py3-none-any.whl").unlink()
    kit.market.failures.clear()
    status, text = kit.make()
    assert status == 0 and "wheels/late-1.0-py3-none-any.whl belonged to an earlier kit: removed" in text
    present = {path.name for path in (kit.out / "wheels").iterdir()}
    assert present == {path.name for path in kit.market.folder.iterdir()} | {
        "own-2.0-py3-none-any.whl",
        "notes.txt",
        f"{SYSTEM}-{HERE}.txt",
    }


def test_an_interrupted_kit_is_not_finished_and_goes_on(kit):
    kit.make()
    (kit.out / "wheels" / "torchvision-1.0-py3-none-any.whl").unlink()
    kit.market.failures["torchvision"] = "ERROR: HTTPSConnectionPool: Read timed out."
    status, text = kit.make()
    assert status == 1
    assert "fetching torchvision-1.0-py3-none-any.whl stopped" in text and "it goes on where it stopped" in text
    assert not (kit.out / "SHA256SUMS").exists()
    assert kit.start()[0] == 1
    kit.market.failures.clear()
    assert kit.make()[0] == 0
    assert kit.market.fetched == ["torchvision-1.0-py3-none-any.whl"]


def test_a_wheel_is_fetched_for_the_computer_it_is_for(kit):
    for path in kit.market.folder.iterdir():
        path.unlink()
    make_wheel(kit.market.folder, "torch", {}, "cp312-cp312-manylinux_2_27_aarch64.manylinux_2_28_aarch64")
    assert kit.make("--platform", "linux-arm", "--pythons", "3.12")[0] == 0
    words = " ".join(kit.market.download)
    assert "--platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64" in words
    assert "--python-version 3.12" in words and "--require-hashes" in words and "--no-deps" in words
    asked = " ".join(kit.market.asked[-1])
    assert "--python-platform aarch64-manylinux_2_28 --python-version 3.12" in asked and "--extra dev" in asked


def test_the_wheel_made_for_this_python_is_taken():
    def entry(tag):
        return {"url": f"https://example.org/x-1-{tag}.whl", "hashes": {"sha256": tag}}

    tags = ["py3-none-any", "cp37-abi3-manylinux1_x86_64", "cp312-cp312-manylinux1_x86_64"]
    package = {"name": "x", "version": "1", "wheels": [entry(tag) for tag in tags]}
    assert kit_wheels.read_package(package, Target("linux", "3.12")).sha256 == tags[2]
    package["wheels"] = package["wheels"][:2]
    assert kit_wheels.read_package(package, Target("linux", "3.12")).sha256 == tags[1]
    with pytest.raises(KitError, match="x 1: no wheel with a checksum for linux with Python 3.12"):
        kit_wheels.read_package({"name": "x", "version": "1", "sdist": {}}, Target("linux", "3.12"))


@pytest.mark.parametrize(
    ("platform", "torch", "backend"),
    [
        ("linux", "auto", "cpu"),
        ("windows", "auto", ""),
        ("macos", "cpu", ""),
        ("linux", "cpu", "cpu"),
        ("linux", "pypi", ""),
        ("windows", "cu130", "cu130"),
        ("macos", "cu130", ""),
    ],
)
def test_which_pytorch(kit, platform, torch, backend):
    assert kit.make("--platform", platform, "--torch", torch)[0] == 0
    assert len(kit.market.asked) == 2, "the course alone, then with what installs it"
    asked = [next((word.split("=")[1] for word in words if "--torch-b" in word), "") for words in kit.market.asked]
    assert asked == [backend] * 2


def test_the_ordinary_build_where_the_cpu_index_is_out_of_reach(kit):
    kit.market.failures["backend"] = NO_NETWORK
    status, text = kit.make("--platform", "linux")
    assert status == 0
    assert "taking the ordinary build" in text
    status, text = kit.make("--platform", "linux", "--torch", "cpu")
    assert status == 1 and "The package index does not answer" in text and "TORCH=pypi" in text


def test_several_systems_and_pythons(kit):
    assert kit.make("--platform", "windows, macos", "--pythons", "3.12 3.13")[0] == 0
    lists = sorted(path.stem for path in (kit.out / "wheels").glob("*.txt"))
    assert lists == ["macos-3.12", "macos-3.13", "windows-3.12", "windows-3.13"]
    assert len(kit.market.fetched) == 4, "a wheel for all of them is fetched once"
    assert kit.make("--platform", "windows", "--pythons", "3.12")[0] == 0
    assert [path.stem for path in (kit.out / "wheels").glob("*.txt")] == ["windows-3.12"]


NO_WHEEL = """error: No solution found when resolving dependencies
  cause: Because torch==2.15.0 has no wheels with a matching Python ABI tag (e.g., `cp315`), we can conclude that ...
"""


@pytest.mark.parametrize(
    ("arguments", "failures", "expected"),
    [
        ("--platform amiga", {}, "no kit for 'amiga'. Choose --platform from: linux, linux-arm, windows, macos"),
        ("--pythons three", {}, "'three' is no Python version"),
        ("--pythons 3.9", {}, "The course needs Python 3.11 or newer, not 3.9."),
        ("--platform windows --pythons 3.15", {"compile": NO_WHEEL}, "torch==2.15.0 has no wheels"),
        ("--platform windows --pythons 3.15", {"compile": NO_WHEEL}, "the packages for windows with Python 3.15"),
        ("", {"compile": NO_NETWORK}, "The package index does not answer"),
        ("", {"torch": "OSError: [Errno 28] No space left on device"}, "The disk is full"),
        ("", {"torch": "something else"}, "something else\nFetching torch-1.0-py3-none-any.whl failed"),
        ("", {"torch": "/usr/bin/python3: No module named pip"}, "pip is needed for fetching torch"),
        ("", {"--version": "No module named uv"}, "-m pip install uv"),
    ],
)
def test_errors_say_what_to_do(kit, arguments, failures, expected):
    kit.market.failures.update(failures)
    status, text = kit.make(*arguments.split())
    assert status == 1 and expected in text
    assert not (kit.out / "SHA256SUMS").exists()
    assert not list(kit.out.glob("wheels/torch-*"))


def test_a_kit_that_is_not_complete_is_not_finished(kit):
    kit.market.failures["install"] = "Because pywinpty was not found in the provided package locations"
    status, text = kit.make("--platform", "windows")
    assert status == 1
    assert "pywinpty" in text and "The wheels for windows with Python" in text
    assert not (kit.out / "SHA256SUMS").exists()


def test_disk_too_small(kit, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, 0.2e9))
    status, text = kit.make()
    assert status == 1
    assert "about 0.5 GB are needed" in text and "0.2 GB are free" in text
    assert kit.market.fetched == []


def test_disk_full_while_the_course_is_packed(kit, monkeypatch):
    def full(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(offline_kit, "write_sums", full)
    status, text = kit.make()
    assert status == 1 and "The disk is full" in text


def test_not_a_git_checkout(kit):
    shutil.rmtree(kit.course / ".git")
    status, text = kit.make()
    assert status == 1 and "no git checkout" in text


@pytest.mark.parametrize("names", [["holiday.jpg"], ["wheels/mine-1.0-py3-none-any.whl", "wheels/linux-3.12.txt"]])
def test_a_folder_that_is_no_kit_stays_as_it_is(kit, names):
    for name in names:
        (kit.out / name).parent.mkdir(parents=True, exist_ok=True)
        (kit.out / name).write_text("mine")
    status, text = kit.make()
    assert status == 1 and f"something that is no kit ({names[0].split('/')[0]}), and stays as it is" in text
    assert "--out" in text
    present = [path for path in kit.out.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(kit.out).as_posix() for path in present) == sorted(names)
    assert all(path.read_text() == "mine" for path in present)


def test_a_fresh_stick_holds_nothing(kit):
    for name in ("System Volume Information/WPSettings.dat", ".Trash-1000/info", "._.Trashes", ".DS_Store"):
        (kit.out / name).parent.mkdir(parents=True, exist_ok=True)
        (kit.out / name).write_text("")
    assert kit.make()[0] == 0 and kit.verify()[0] == 0


def test_a_list_that_somebody_changed_removes_nothing_elsewhere(kit):
    kit.make()
    (kit.folder / "precious").write_text("mine")
    with open(kit.out / "made-by-offline-kit.txt", "a") as file:
        file.write(f"../precious\n{kit.folder}/precious\nwheels\n\n")
    assert kit.make()[0] == 0
    assert (kit.folder / "precious").exists()


@pytest.mark.parametrize("place", ["file", "file/kit"])
def test_no_kit_in_a_file(kit, place):
    (kit.folder / "file").write_text("mine")
    kit.out = kit.folder / place
    status, text = kit.make()
    assert status == 1 and "with --out" in text and str(kit.out) in text
    assert (kit.folder / "file").read_text() == "mine"


def test_a_learner_without_a_network(kit, cut_off):
    kit.real_setup()
    kit.make()
    status, text = kit.start("--lab", "--port", "8890", without_network=cut_off)
    folder = kit.home / "transfer-learning-course"
    assert status == 0, text
    assert "The environment is ready." in text and "OK  the room check" in text
    assert text.rstrip().endswith("JUPYTER lab --ServerApp.root_dir=. notebooks/00_start_here.ipynb --port 8890")
    assert (folder / ".venv" / "course-ready.json").exists()
    assert kit.verify()[0] == 0, "starting from the kit changes nothing in it"

    (folder / "notebooks" / "00_start_here.ipynb").write_text("the learner's work")
    status, text = kit.start("--check", without_network=cut_off)
    assert status == 0 and "JUPYTER" not in text
    assert "Copying" not in text and "Installing" not in text
    assert (folder / "notebooks" / "00_start_here.ipynb").read_text() == "the learner's work"
    status, text = call([str(folder / AGAIN)], cwd=kit.home)
    assert (status, text.split()[:2]) == (0, ["JUPYTER", "lab"])
    shutil.rmtree(folder / ".venv")
    status, text = call([str(folder / AGAIN)], ("",), cwd=kit.home)
    assert (
        status == 1 and "start the script of the offline kit again" in text and text.endswith("Press Enter to close. ")
    )


def test_a_newer_course_goes_beside_the_learners_work(kit):
    kit.make()
    assert kit.start("--check")[0] == 0
    folder = kit.home / "transfer-learning-course"
    (folder / "notebooks" / "00_start_here.ipynb").write_text("the learner's work")
    (kit.course / "tlhelpers" / "new.py").write_text("")
    kit.commit("More")
    kit.make()
    status, text = kit.start("--check")
    assert status == 0 and f"{folder} holds something else. It stays as it is." in text
    beside = folder.with_name(folder.name + "-" + kit.git("rev-parse", "HEAD").stdout[:7])
    assert (beside / "tlhelpers" / "new.py").exists() and not (folder / "tlhelpers" / "new.py").exists()
    assert (folder / "notebooks" / "00_start_here.ipynb").read_text() == "the learner's work"
    assert sorted(path.name for path in kit.home.iterdir() if "course" in path.name) == [folder.name, beside.name]


@pytest.mark.parametrize("what", ["course.zip", "kit.json", f"wheels/{SYSTEM}-{HERE}.txt", "SHA256SUMS"])
def test_a_damaged_file_is_noticed(kit, what):
    kit.make()
    (kit.out / what).write_bytes((kit.out / what).read_bytes()[:-30])
    if what == "SHA256SUMS":
        (kit.out / what).write_bytes(b"\xff\xfe")
    status, text = kit.start("--check")
    assert status == 1
    assert "is damaged. Copy the kit again; its verify.py" in text and "Traceback" not in text
    assert list(kit.home.iterdir()) == []


@pytest.mark.parametrize("size", [-50, 0, None], ids=["cut short", "empty", "one letter"])
def test_a_damaged_wheel_is_noticed(kit, size):
    kit.real_setup()
    kit.make()
    wheel = kit.out / "wheels" / "torch-1.0-py3-none-any.whl"
    data = wheel.read_bytes()
    wheel.write_bytes(data.replace(b"torch", b"tarch", 1) if size is None else data[:size])
    status, text = kit.start("--check")
    assert status == 1
    assert "A file of the offline kit is damaged" in text and "verify.py" in text and "Traceback" not in text
    assert not (kit.home / "transfer-learning-course" / ".venv").exists()


def test_a_computer_the_kit_is_not_for(kit):
    kit.make("--platform", "windows macos")
    status, text = kit.start("--check")
    assert status == 1
    assert f"no packages for {SYSTEM} with Python {HERE}" in text and "windows with Python" in text
    assert list(kit.home.iterdir()) == []


def test_no_python_that_fits(kit):
    kit.make("--pythons", "3.99")
    (kit.out / "python" / "python-3.99.deb").write_text("")
    status, text = kit.start()
    assert status == 1
    assert "This kit needs Python 3.99." in text and "python-3.99.deb" in text


def test_a_folder_of_the_learners_choice(kit):
    kit.make()
    chosen = kit.home / "my courses" / "transfer"
    assert kit.start("--check", str(chosen))[0] == 0
    assert (chosen / ".venv").exists()
    (kit.home / "taken").write_text("a file")
    (kit.home / f"taken-{kit.git('rev-parse', 'HEAD').stdout[:7]}").mkdir()
    (kit.home / f"taken-{kit.git('rev-parse', 'HEAD').stdout[:7]}" / "x").write_text("")
    status, text = kit.start("--check", str(kit.home / "taken"))
    assert status == 1 and "a folder that does not exist yet" in text


def test_an_answer_is_a_folder_below_home_not_on_the_stick(kit):
    kit.make()
    status, text = kit.start("--check", answers=["my courses/transfer"])
    assert status == 0 and f"The course is in {kit.home}/my courses/transfer\n" in text
    assert kit.start("--check", "second")[0] == 0
    assert (kit.home / "second" / "notebooks").is_dir()
    assert {path.name for path in kit.home.iterdir()} == {"my courses", "second"}
    assert kit.verify()[0] == 0 and not (kit.out / "second").exists() and not (kit.out / "my courses").exists()


def place_module():
    spec = importlib.util.spec_from_file_location("kit_place", offline_kit.PARTS / "place.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("windows", "answer", "expected"),
    [
        (False, "/Volumes/My\\ Disk\\ \\(1\\)/course ", "/Volumes/My Disk (1)/course"),  # dragged on macOS
        (False, "'/media/My Disk' ", "/media/My Disk"),  # dragged on Linux
        (False, "my courses/a  b #1", "my courses/a  b #1"),
        (False, "Anna's course", "Anna's course"),
        (False, "", ""),
        (True, '"E:\\My Disk" ', "E:\\My Disk"),
        (True, 'E:\\My Disk"', "E:\\My Disk"),  # what the command prompt makes of "E:\My Disk\"
        (True, "D:", "D:\\"),
        (True, "D:my courses", "D:\\my courses"),
        (True, "D:/courses", "D:/courses"),
        (True, "\\\\server\\home\\anna\\x", "\\\\server\\home\\anna\\x"),
        (True, "my courses", "my courses"),
        (True, "", ""),
    ],
)
def test_what_a_terminal_adds_to_an_answer_is_taken_away(windows, answer, expected):
    assert place_module().typed(answer, windows) == expected


def test_a_folder_that_cannot_be_used(kit):
    """At the command: the script stops. Typed: it asks again."""
    kit.make()
    (kit.home / "file").write_text("mine")
    bad = {
        "/": "/ is a whole disk",
        "file/course": f"a file is in the way ({kit.home}/file)",
        "file/deep/course": "a file is in the way (",
        "~nobody-of-that-name/x": "home directory",
        "x" * 300: "File name too long",
        str(kit.out / "course"): "in the kit",
        str(kit.out): "in the kit",
    }
    for answer, reason in bad.items():
        status, text = kit.start("--check", answer)
        assert status == 1 and "Traceback" not in text
        assert "Cannot use this folder: " in text and reason in text and "Name another one." in text
    status, text = kit.start("--check", answers=[*bad, "good"])
    assert status == 0 and text.count("Cannot use this folder: ") == len(bad) and "Traceback" not in text
    assert (kit.home / "good" / "notebooks").is_dir()
    assert {path.name for path in kit.home.iterdir()} == {"file", "good"} and kit.verify()[0] == 0


def test_a_folder_with_a_name_like_ours_stays(kit):
    kit.make()
    theirs = kit.home / "transfer-learning-course.unfinished"
    theirs.mkdir()
    (theirs / "work.ipynb").write_text("mine")
    assert kit.start("--check")[0] == 0
    assert (theirs / "work.ipynb").read_text() == "mine"
    assert {path.name for path in kit.home.iterdir()} == {theirs.name, "transfer-learning-course"}
    mode = (kit.home / "transfer-learning-course").stat().st_mode
    assert mode == (kit.home / "transfer-learning-course" / "notebooks").stat().st_mode, "no private folder of tempfile"


def test_a_room_check_that_fails_still_says_where_the_course_is(kit):
    (kit.course / "tlhelpers" / "__main__.py").write_text("print('!!  no disk'); raise SystemExit(1)")
    kit.commit("A check that fails")
    kit.make()
    status, text = kit.start()
    assert status == 1 and "!!  no disk" in text and "JupyterLab" not in text
    assert f"The course is in {kit.home}/transfer-learning-course\nTo open it without this kit: {AGAIN} there." in text


def test_the_windows_script_for_the_days_after(tmp_path, monkeypatch):
    """A home folder on a server has no drive letter, and only pushd gives it one."""
    spec = importlib.util.spec_from_file_location("kit_start", offline_kit.PARTS / "start.py")
    start = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(offline_kit.PARTS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(start)
    monkeypatch.setattr(start, "this_platform", lambda: "windows")
    start.write_again(tmp_path)
    text = (tmp_path / "start-course.bat").read_bytes().decode()
    assert text.count("\n") == text.count("\r\n") and 'pushd "%~dp0"\r\n' in text and "cd /d" not in text
    missing = text.split("\r\n:missing\r\n")[1]
    assert "goto missing" in text and "echo The packages of the course are not here" in missing and "pause" in missing
