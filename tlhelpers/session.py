"""The one setup call of every lesson: device, seed, profile, and where the data are.

torch is imported inside the functions, not at the top: `python -m tlhelpers` must be able to explain a torch
that is missing or broken, so this file has to load without it.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PROFILES = {
    "mini": "bundled images at 64 pixels and small bundled backbones, no download",
    "full": "real photographs at 224 pixels and ImageNet weights, downloaded once",
}


class CourseError(ValueError):
    """Something handed to a helper cannot work; the message names it and says what to do."""


@dataclass(frozen=True)
class Course:
    """What `start` decided. Lessons read it and never change it.

    >>> import torch
    >>> course = Course("mini", torch.device("cpu"), 0, Path("data"), Path("downloads"))
    >>> course.pick(mini=4, full=15)
    4
    """

    profile: str  # "mini" or "full"
    device: torch.device  # where models and batches go
    seed: int
    data: Path  # the bundled files: mini/ and weights/
    downloads: Path  # where the full profile keeps real datasets
    # data sets whose download failed: every later call gives the bundled stand-in, so splits never mix
    fallen_back: set[str] = field(default_factory=set, compare=False, repr=False)

    def pick(self, mini: Any, full: Any) -> Any:
        """Return the value that belongs to the profile in use."""
        return mini if self.profile == "mini" else full


def data_dir() -> Path:
    """Return the folder with the bundled images and weights (`TLHELPERS_DATA` overrides it).

    >>> (data_dir() / "mini").is_dir()
    True
    """
    chosen = os.environ.get("TLHELPERS_DATA")
    folder = Path(chosen).expanduser() if chosen else Path(__file__).resolve().parent.parent / "data"
    if not folder.is_dir():
        if chosen:
            hint = "Correct TLHELPERS_DATA, or unset it to use the data/ folder next to tlhelpers/."
        else:
            hint = "Clone the whole repository, where data/ lies next to tlhelpers/, or set TLHELPERS_DATA to a copy."
        raise CourseError(f"The course data are not at {folder}. {hint}")
    return folder


def downloads_dir() -> Path:
    """Return the folder for real datasets: `TLHELPERS_DOWNLOADS`, else next to torch's own downloads.

    Kept outside the repository, so several clones on one machine share one download. Not created here.

    >>> downloads_dir().is_absolute()
    True
    """
    import torch

    chosen = os.environ.get("TLHELPERS_DOWNLOADS")
    folder = Path(chosen) if chosen else Path(torch.hub.get_dir()).parent / "datasets"
    return folder.expanduser().absolute()


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's random numbers (every device). `seed` lies in 0 .. 2**32 - 1.

    The same seed gives the same numbers on the same machine and versions; bitwise equality across torch versions
    or devices is not promised (https://pytorch.org/docs/stable/notes/randomness.html).

    >>> seed_everything(0); first = random.random()
    >>> seed_everything(0); first == random.random()
    True
    """
    import numpy as np
    import torch

    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise CourseError(f"seed={seed!r} must be a whole number between 0 and 4294967295, for example seed=0.")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Put Python's, NumPy's and torch's random numbers back after the block: looking must not change a training.

    >>> seed_everything(0); first = random.random()
    >>> seed_everything(0)
    >>> with random_state_kept():
    ...     _ = random.random()
    >>> first == random.random()
    True
    """
    import numpy as np
    import torch

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    # where CUDA sleeps, a seed waits there for its first use, and any torch.manual_seed replaces it
    waiting = getattr(torch.cuda, "_lazy_seed_tracker", None)
    seeds = None if waiting is None else dict(vars(waiting))
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)
        if seeds is not None:
            vars(waiting).update(seeds)


def network_available(url: str | None = None, timeout: float = 5.0) -> bool:
    """True when `url` answers within `timeout` seconds (any answer counts); default: torchvision's ResNet-18 weights.

    >>> network_available("http://127.0.0.1:9", timeout=0.5)
    False
    """
    import urllib.error
    import urllib.request

    if url is None:
        from torchvision.models import ResNet18_Weights

        url = ResNet18_Weights.DEFAULT.url
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout).close()
    except urllib.error.HTTPError:
        return True  # a server that refuses this page is still a server that answers
    except (OSError, ValueError):
        return False
    return True


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device asked for, or the fastest one present: cuda, then mps (Apple), then cpu.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    import torch

    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    if torch.cuda.is_available():
        present.insert(0, "cuda")
    if device is None:
        return torch.device(present[0])
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise CourseError(f"device={device!r} is not a device. This machine has: {', '.join(present)}.") from error
    if chosen.type not in present or (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()):
        raise CourseError(f"device={str(device)!r} is not on this machine. It has: {', '.join(present)}.")
    return chosen


def choose_profile(profile: str | None = None, device_type: str = "cpu") -> tuple[str, str]:
    """Return (profile, why): the argument, else `TLHELPERS_PROFILE`, else full on a CUDA GPU that has a network.

    >>> choose_profile("mini")
    ('mini', 'asked for')
    """
    wanted, why = profile, "asked for"
    if wanted is None and os.environ.get("TLHELPERS_PROFILE", "").strip():
        wanted, why = os.environ["TLHELPERS_PROFILE"].strip().lower(), "set by TLHELPERS_PROFILE"
    if wanted is None:
        if device_type != "cuda":
            return "mini", "the default without a CUDA GPU"
        if network_available():
            return "full", "the default on a CUDA GPU"
        return "mini", "no network; if the files are already here, set TLHELPERS_PROFILE=full"
    if wanted not in PROFILES:
        raise CourseError(f"profile {wanted!r} ({why}) is unknown. Choose 'mini' ({PROFILES['mini']}) or 'full'.")
    return wanted, why


def start(seed: int = 0, profile: str | None = None, device: str | torch.device | None = None) -> Course:
    """Pick the device, seed everything, choose the profile, print what was decided. Safe to run again.

    Raises CourseError for an unknown profile, a device this machine lacks, or missing course data.

    >>> course = start(seed=0, profile="mini", device="cpu")
    Profile: mini (asked for): bundled images at 64 pixels and small bundled backbones, no download
    Device:  cpu
    Seed:    0
    """
    chosen_device = choose_device(device)
    name, why = choose_profile(profile, chosen_device.type)
    course = Course(name, chosen_device, seed, data_dir(), downloads_dir())
    seed_everything(seed)
    print(f"Profile: {name} ({why}): {PROFILES[name]}")
    print(f"Device:  {chosen_device}")
    print(f"Seed:    {seed}")
    return course
