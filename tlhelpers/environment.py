"""The environment check behind `python -m tlhelpers`. Imports torch only inside the checks, so it can report on it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path

from .session import CourseError, choose_device, choose_profile, data_dir

PYTHON_FLOOR = (3, 11)
TORCH_FLOOR, TORCHVISION_FLOOR = (2, 7), (0, 22)
PACKAGES = {"numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "matplotlib": "matplotlib", "PIL": "pillow"}
PACKAGES |= {"timm": "timm"}  # lesson 07
FREE_DISK_MB = 300  # notebooks, checkpoints and caches of the mini profile
FREE_DISK_FULL_MB = 2000  # Flowers102 (archive and images) and the ImageNet weights
INSTALL = "Run 'make lab', or follow 'Installation' in README.md."
RESTORE = "git checkout -- data, or, without git, data/ from a fresh copy of the course."

Line = tuple[bool, str, str]  # (fine, what was looked at, what was found and what to do)


def version_tuple(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version, so that versions compare as numbers.

    >>> version_tuple("2.11.0+cu128") > version_tuple("2.7.1")
    True
    """
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def check_python() -> Line:
    """Is this Python new enough?"""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= PYTHON_FLOOR:
        return True, "Python", version
    floor = ".".join(map(str, PYTHON_FLOOR))
    return False, "Python", f"{version} is too old: install Python {floor} or newer. {INSTALL}"


def check_torch() -> Line:
    """Do torch and torchvision import, are they new enough, and do they belong together?"""
    name = "PyTorch"
    try:
        import torch
    except Exception as error:  # a broken build raises more than ImportError
        return False, name, f"torch does not import ({first_line(error)}). {INSTALL}"
    try:
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        torchvision.ops.nms(boxes, torch.ones(1), 0.5)  # a compiled operator: missing when the pair does not match
    except ModuleNotFoundError as error:
        return False, name, f"torch {torch.__version__} is here, {error.name} is not. {INSTALL}"
    except Exception as error:
        found = f"torch {torch.__version__}, but torchvision does not load ({first_line(error)})"
        advice = "They are no pair: reinstall both in one command (pip install --force-reinstall torch torchvision)"
        return False, name, f"{found}. {advice}."
    found = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    if version_tuple(torch.__version__) < TORCH_FLOOR or version_tuple(torchvision.__version__) < TORCHVISION_FLOOR:
        return False, name, f"{found}: the course needs torch 2.7 and torchvision 0.22 or newer. {INSTALL}"
    return True, name, found


def check_packages() -> Line:
    """Are the other packages that the notebooks import there? (Looked up, not imported.)"""
    missing = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        return False, "Packages", f"missing: {', '.join(missing)}. {INSTALL}"
    return True, "Packages", ", ".join(PACKAGES.values())


def check_jupyter() -> Line:
    """Can the notebooks be opened and their sliders be shown?"""
    if os.environ.get("COLAB_RELEASE_TAG"):
        return True, "Jupyter", "Colab brings its own notebook"
    missing = [name for name in ("jupyterlab", "ipykernel", "ipywidgets") if importlib.util.find_spec(name) is None]
    if missing:
        return False, "Jupyter", f"missing: {', '.join(missing)}. {INSTALL}"
    return True, "Jupyter", "jupyterlab, ipykernel and ipywidgets are installed"


def changed_files(data: Path) -> tuple[list[str], int]:
    """Compare the bundled files with data/manifest.json; return (what differs, how many files are listed)."""
    listed = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
    problems = []
    for relative, digest in sorted(listed.items()):
        file = data / relative
        if not file.is_file():
            problems.append(f"{relative} is missing")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            problems.append(f"{relative} was changed")
    return problems, len(listed)


def check_data() -> Line:
    """Are all bundled images and weights there, byte for byte?"""
    name = "Course data"
    try:
        data = data_dir()
        problems, count = changed_files(data)
    except CourseError as error:
        return False, name, str(error)
    except (OSError, ValueError, AttributeError) as error:
        return False, name, f"manifest.json cannot be read ({first_line(error)}). Get it back: {RESTORE}"
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        return False, name, f"{'; '.join(problems[:3])}{more}. Get them back: {RESTORE}"
    return True, name, f"{count} bundled files, all as listed in manifest.json"


def check_disk(folder: Path | None = None, full: bool = False) -> Line:
    """Is there room for notebooks and checkpoints (and for the downloads, in the full profile)?"""
    free = shutil.disk_usage(folder or Path.cwd()).free // 1_000_000
    needed = FREE_DISK_FULL_MB if full else FREE_DISK_MB
    if free < needed:
        return False, "Free disk", f"{free} MB, the course needs {needed} MB: delete something or use another disk."
    return True, "Free disk", f"{free / 1000:.1f} GB"


def check_compute() -> list[Line]:
    """Say what will compute. Nothing here can block the course."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    speed = "" if cores > 1 else ": every lesson works, and takes somewhat longer than it states"
    try:
        device = choose_device()
        kind = {"cpu": "no GPU found, lessons run on the CPU", "mps": "Apple GPU (mps)"}.get(device.type)
        if kind is None:
            import torch

            kind = f"{torch.cuda.get_device_name(device)} (cuda)"
        profile, why = choose_profile(device_type=device.type)
        chosen = (True, "Profile", f"{profile} ({why})")
    except CourseError as error:
        kind, chosen = "not looked at", (False, "Profile", str(error))
    except Exception as error:  # torch missing or broken: check_torch says what to do
        kind, chosen = "not looked at", (True, "Profile", f"not decided ({first_line(error)})")
    return [(True, "CPU cores", f"{cores}{speed}"), (True, "GPU", kind), chosen]


def first_line(error: BaseException) -> str:
    """Return an exception as one short line.

    >>> first_line(ValueError("no such file\\nmore"))
    'ValueError: no such file'
    """
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]


def environment_check() -> list[Line]:
    """Look at everything the course needs; one (fine, name, message) per line. Changes nothing.

    >>> [name for fine, name, message in environment_check()][:3]
    ['Python', 'PyTorch', 'Packages']
    """
    compute = check_compute()
    full = compute[-1][2].startswith("full")
    programs = [check_python(), check_torch(), check_packages(), check_jupyter()]
    return [*programs, check_data(), check_disk(full=full), *compute]
