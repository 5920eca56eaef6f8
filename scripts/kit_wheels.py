"""The wheels of an offline kit: uv says which ones another computer needs, pip fetches exactly these.

Two steps, because pip decides by the machine it runs on. Used by scripts/offline_kit.py.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.parse
import zipfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from setup_env import DISK_FULL, NO_BUILD, UNREACHABLE

ROOT = Path(__file__).resolve().parent.parent
# What uv calls them. Linux with glibc 2.28 or newer (from 2018 on); macOS 13 or newer, which is uv's own choice.
PLATFORMS = {
    "linux": "x86_64-manylinux_2_28",
    "linux-arm": "aarch64-manylinux_2_28",
    "windows": "x86_64-pc-windows-msvc",
    "macos": "aarch64-apple-darwin",
}
GIGABYTES = {"large": 3.3, "small": 0.5}  # of wheels for one system and one Python: with CUDA, without
AT_ONCE = 3  # downloads side by side


class KitError(Exception):
    """Something the reader can act on; its text is all that is printed."""


class Wheel(NamedTuple):
    name: str
    version: str
    file: str
    url: str
    sha256: str


class Target(NamedTuple):
    """One kind of computer: a system and a Python version."""

    platform: str
    python: str

    def __str__(self):
        return f"{self.platform} with Python {self.python}"


def run(command: list, **environment) -> tuple[int, str]:
    """Run a command quietly. Returns (exit status, everything it printed)."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_uv() -> list[str]:
    """uv of this environment, or the one on the PATH."""
    for command in ([sys.executable, "-m", "uv"], ["uv"]):
        try:
            if run([*command, "--version"])[0] == 0:
                return command
        except OSError:
            pass
    raise KitError(f"uv is needed to choose packages for other computers: {sys.executable} -m pip install uv")


def resolve(target: Target, uv: list[str], backend: str, patient: bool = True) -> list[Wheel]:
    """The wheels that one kind of computer needs, with pip and setuptools, which put in the course itself.

    First the course alone: asked for everything at once, uv takes an older PyTorch to please the newest setuptools.
    """
    project = ROOT / "pyproject.toml"
    build = tomllib.loads(project.read_text(encoding="utf-8"))["build-system"]["requires"]
    base = [*uv, "pip", "compile", "--quiet", "--only-binary", ":all:", "--extra", "dev"]
    base += ["--python-platform", PLATFORMS[target.platform], "--python-version", target.python]
    base += [f"--torch-backend={backend}"] if backend else []
    hurry = {} if patient else {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "15"}
    with tempfile.TemporaryDirectory() as folder:
        course, more, lock = (Path(folder, name) for name in ("course.txt", "more.in", "pylock.toml"))
        more.write_text("\n".join(["pip", *build]), encoding="utf-8")
        for words in (
            ["--output-file", course, project],
            ["--output-file", lock, "--format", "pylock.toml", "--constraint", course, project, more],
        ):
            status, output = run([*base, *words], **hurry)
            if status:
                raise explain(output, f"choosing the packages for {target}")
        packages = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]
    return [read_package(package, target) for package in packages]


def read_package(package: dict, target: Target) -> Wheel:
    """One package of uv's list, which names every wheel that fits. The one made for just this Python is taken."""
    found = []
    for wheel in package.get("wheels") or []:
        where = wheel.get("url") or Path(wheel["path"]).resolve().as_uri()
        file = urllib.parse.unquote(urllib.parse.urlsplit(where).path.rsplit("/", 1)[-1])
        _, abi, system = file.removesuffix(".whl").rsplit("-", 2)
        rank = (system == "any", abi != "cp" + target.python.replace(".", ""), file)
        if sha256 := wheel.get("hashes", {}).get("sha256"):
            found.append((rank, Wheel(package["name"], package["version"], file, where, sha256)))
    if not found:
        raise KitError(f"{package['name']} {package['version']}: no wheel with a checksum for {target}.")
    return min(found)[1]


def choose(target: Target, uv: list[str], wanted: str) -> list[Wheel]:
    """`resolve` with the PyTorch that was asked for. On Linux the CPU build comes first, as in setup_env.choose_torch;
    elsewhere the ordinary build is the CPU build."""
    linux = target.platform.startswith("linux")
    if wanted == "auto" and linux:
        try:
            return resolve(target, uv, "cpu", patient=False)
        except KitError:
            print("The CPU-only PyTorch cannot be had from here; taking the ordinary build (larger, works the same).")
    special = {"auto": False, "pypi": False, "cpu": linux}.get(wanted, target.platform != "macos")
    if not special:
        return resolve(target, uv, "")
    try:
        return resolve(target, uv, wanted)
    except KitError as error:
        raise KitError(
            f"{error}\n(TORCH={wanted} has an index of its own; TORCH=pypi takes the ordinary one.)"
        ) from None


def explain(output: str, doing: str) -> KitError:
    """The failure of uv or pip in words that say what to do."""
    tail = "\n".join("  " + line for line in output.strip().splitlines()[-8:])
    if re.search(DISK_FULL, output):
        return KitError(f"The disk is full: {doing} stopped. Free some space, then run the same command again.")
    if re.search(UNREACHABLE, output):
        return KitError(f"{tail}\nThe package index does not answer: {doing} stopped. Is there a network? A proxy?\n"
                        "Run the same command again; it goes on where it stopped.")  # fmt: skip
    if re.search(NO_BUILD, output):
        return KitError(f"{tail}\nNothing fits together: {doing} stopped; the lines above name the package.\n"
                        "Leave out this Python version or platform.")  # fmt: skip
    if "No module named pip" in output:
        return KitError(f"pip is needed for {doing}: {sys.executable} -m ensurepip, or use the Python of .venv.")
    return KitError(f"{tail}\n{doing[0].upper()}{doing[1:]} failed; the lines above say why.")


def fetch(wheel: Wheel, target: Target, folder: Path) -> int:
    """Get one wheel unless it is there. A file appears under its name only when it is whole. Returns bytes fetched."""
    path = folder / wheel.file
    if path.is_file() and digest(path) == wheel.sha256:
        return 0
    tags = [word for tag in wheel.file[:-4].split("-")[-1].split(".") if tag != "any" for word in ("--platform", tag)]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as part:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--python-version", target.python, *tags]
        command += ["--dest", part, f"{wheel.name} @ {wheel.url}#sha256={wheel.sha256}"]
        status, output = run(command, TMPDIR=part, TEMP=part, TMP=part)
        fetched = Path(part, wheel.file)
        if status or not fetched.is_file() or digest(fetched) != wheel.sha256:
            raise explain(output, f"fetching {wheel.file}")
        os.replace(fetched, path)
    return path.stat().st_size


def check_disk(chosen: dict[Target, list[Wheel]], wheels: Path) -> None:
    """Refuse to start what cannot end. Wheels that are there already need no room."""
    large = {target for target, needed in chosen.items() if any(wheel.name.startswith("nvidia-") for wheel in needed)}
    needed = sum(GIGABYTES["large" if target in large else "small"] for target in chosen)
    present = {wheels / wheel.file for needed in chosen.values() for wheel in needed}
    needed -= sum(path.stat().st_size for path in present if path.is_file()) / 1e9
    free = shutil.disk_usage(wheels).free / 1e9
    if free < needed:
        raise KitError(f"Not enough disk space: about {needed:.1f} GB are needed in {wheels}, {free:.1f} GB are free.\n"
                       "Choose fewer --pythons, or another folder with --out.")  # fmt: skip


def fetch_all(chosen: dict[Target, list[Wheel]], folder: Path) -> None:
    """Every wheel once, a few at a time, one line for each that had to be fetched."""
    for leftover in folder.glob(".fetching-*"):  # of a run that was killed
        shutil.rmtree(leftover)
    jobs = {wheel: target for target, wheels in chosen.items() for wheel in wheels}
    pool, start = ThreadPoolExecutor(AT_ONCE), time.monotonic()
    try:
        running = {pool.submit(fetch, wheel, target, folder): wheel for wheel, target in jobs.items()}
        total = 0
        for count, job in enumerate(as_completed(running), start=1):
            if size := job.result():
                total += size
                print(f"  {count:3} of {len(jobs)}  {size / 1e6:7.1f} MB  {running[job].file}", flush=True)
    finally:  # after a failure nothing new is started
        pool.shutdown(cancel_futures=True)
    print(f"{len(jobs)} wheels, {total / 1e6:.0f} MB of them fetched in {time.monotonic() - start:.0f} s.")


def check_complete(target: Target, uv: list[str], folder: Path) -> None:
    """Let uv plan the installation on the other computer from this folder alone: is something missing in it?"""
    with tempfile.TemporaryDirectory() as nowhere:
        command = [*uv, "pip", "install", "--dry-run", "--offline", "--no-index", "--find-links", folder]
        command += ["--require-hashes", "--only-binary", ":all:", "--target", nowhere]
        command += ["--python-platform", PLATFORMS[target.platform], "--python-version", target.python]
        status, output = run([*command, "-r", list_file(target, folder)])
    if status:
        raise KitError(f"{output}\nThe wheels for {target} are not complete; the lines above say what is missing.")


def list_file(target: Target, folder: Path) -> Path:
    """Where setup_env.py --wheels looks for the packages of one kind of computer."""
    return folder / f"{target.platform}-{target.python}.txt"


def unpacked_size(wheels: list[Wheel], folder: Path) -> int:
    """Bytes on disk once installed: what the tables of contents of the wheels add up to."""
    total = 0
    for wheel in wheels:
        with zipfile.ZipFile(folder / wheel.file) as archive:
            total += sum(entry.file_size for entry in archive.infolist())
    return total
