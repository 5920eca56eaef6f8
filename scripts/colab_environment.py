"""The environments of colab_check.py: Colab's own versions, and the oldest that pyproject.toml allows.

Each is a virtual environment in build/check/, made with uv and kept as long as its list of packages stays the same.
The course itself is not installed in it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path

from setup_env import version_of

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ROOT / "scripts" / "stand_in" / "colab-versions.txt"
COLAB_PYTHON = "3.13"


class CheckError(Exception):
    """The check cannot go on. The message says what to do."""


def run(command: list, **options) -> str:
    """What a command printed; CheckError with all of it when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise CheckError(f"{' '.join(map(str, command[:6]))} ... failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def find_uv() -> list[str]:
    if find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    if shutil.which("uv"):
        return ["uv"]
    raise CheckError(f"uv is needed to make the environment: {sys.executable} -m pip install uv")


def find_python(wanted: str, asked: str = "") -> str:
    """A Python of the version wanted ("3.13"); where none is found, the version itself: uv then fetches one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = [sys.executable, f"python{wanted}", *map(str, sorted(pyenv.glob(f"{wanted}.*/bin/python")))]
    for candidate in [asked] if asked else installed:
        if version_of(candidate) == tuple(map(int, wanted.split("."))):
            return candidate
    if asked:
        raise CheckError(f"--python {asked} is not Python {wanted}, and this check is about that one")
    return wanted


def package_list(kind: str, root: Path = ROOT) -> tuple[str, list[str], list[str]]:
    """(Python version, arguments for `uv pip install`, the list itself): the course's dependencies, not the course."""
    if kind == "colab":
        listed = re.findall(r"^\w.*", VERSIONS.read_text(encoding="utf-8"), re.MULTILINE)
        return COLAB_PYTHON, ["-r", str(VERSIONS)], listed
    file = root / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    arguments = ["--resolution", "lowest-direct", "-r", str(file), "--extra", "dev"]
    return (
        project["requires-python"].removeprefix(">="),
        arguments,
        [*project["dependencies"], *project["optional-dependencies"]["dev"]],
    )


def make_environment(kind: str, asked: str, torch: str) -> Path:
    """The Python of build/check/KIND, made anew when the list of packages is another one than last time."""
    version, arguments, listed = package_list(kind)
    folder = ROOT / "build" / "check" / kind
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = folder / "installed.json", json.dumps([version, torch, listed])
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        print(f"{folder.relative_to(ROOT).as_posix()} is there already, with the same packages")
        return python
    uv, start = find_uv(), time.perf_counter()
    backend = [f"--torch-backend={torch}"] if torch else []
    shutil.rmtree(folder, ignore_errors=True)
    try:
        run([*uv, "venv", "--python", find_python(version, asked), folder])
        run([*uv, "pip", "install", "--python", python, *backend, *arguments], cwd=ROOT)
    except BaseException:  # an interrupt too: half an environment helps nobody
        shutil.rmtree(folder, ignore_errors=True)
        raise
    stamp.write_text(wanted, encoding="utf-8")
    print(f"Installed {len(installed(python))} packages in {time.perf_counter() - start:.0f} s")
    return python


def installed(python: Path) -> list[str]:
    """Every package with its version."""
    return run([*find_uv(), "pip", "freeze", "--python", python]).splitlines()
