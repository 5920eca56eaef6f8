"""Save a model to one file that is always complete, and refuse a file that does not fit."""

from __future__ import annotations

import copy
import errno
import io
import os
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .downloads import why_download_failed
from .models import unwrap
from .session import CourseError

FORMAT, VERSION = "tlhelpers checkpoint", 1
RESERVED = ("format", "version", "architecture", "model", "classes", "history")
WRITTEN_BY = "Give a file that save_checkpoint or fit(checkpoint=...) wrote."
RUN = "run"  # what `fit` adds to go on with after the process died


def save_checkpoint(
    path: str | Path, model: nn.Module, history: Any = None, classes: Iterable[str] | None = None, **extras: Any
) -> Path:
    """Write the model's state dict, and what belongs to it, to `path`; return the path.

    `history` is a `History` or None, `classes` the class names in label order. `extras` may be tensors, numbers,
    strings, None and lists or dicts of these, so that the file loads with `weights_only=True`. The file is written
    beside `path` and then put in its place in one step: after a crash there is the old file or the new one, never half
    of one. Raises `CourseError` when the folder cannot be written to or the disk is full; an old file stays intact.

    >>> import tempfile
    >>> file = save_checkpoint(Path(tempfile.mkdtemp()) / "best.pt", nn.Linear(2, 2), classes=["ant", "bee"], epoch=3)
    >>> load_checkpoint(file, nn.Linear(2, 2), classes=["ant", "bee"])["epoch"]
    3
    """
    reserved = [name for name in extras if name in (*RESERVED, RUN)]
    if reserved:
        raise CourseError(f"save_checkpoint: {', '.join(reserved)} is a name of the file's own; choose another.")
    extras = {name: plain(value, name) for name, value in extras.items()}
    return write(path, model, copy_of_state(unwrap(model)), history, classes, extras)


def write(
    path: str | Path, model: nn.Module, state: dict[str, Any], history: Any, classes: Any, extras: dict[str, Any]
) -> Path:
    """Write a checkpoint with `state` as the model's weights and `extras` that are plain already; return the path."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": type(unwrap(model)).__name__,
        "model": state,
        "classes": None if classes is None else [str(name) for name in classes],
        "history": plain(history.to_dict() if hasattr(history, "to_dict") else history, "history"),
        **extras,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())  # on the disk before it takes the place of the old file
        os.replace(temporary, path)
    except OSError as error:
        raise CourseError(f"{path} was not saved: {why_download_failed(error)}. An older file is as it was.") from error
    finally:
        with suppress(OSError):  # it is gone after a save; what is left of a failed one must not fill the disk
            temporary.unlink(missing_ok=True)
    return path


def load_checkpoint(
    path: str | Path, model: nn.Module | None = None, classes: Iterable[str] | None = None
) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; with `model`, copy its weights into it; return everything the file holds.

    Keys: `model` (state dict), `architecture`, `classes`, `history` (for `History.from_dict`) and what was saved as
    `extras`. Raises `CourseError` naming the file when it is missing, cut short, not a checkpoint of this course,
    written by a newer version, of another architecture than `model`, or of other classes than `classes`; the model is
    then unchanged.

    >>> load_checkpoint("nowhere.pt")
    Traceback (most recent call last):
    tlhelpers.session.CourseError: nowhere.pt: there is no such file.
    """
    content = read_checkpoint(path)
    if classes is not None:
        check_classes(path, content["classes"], [str(name) for name in classes])
    if model is not None:
        check_fits(path, content, unwrap(model))
        unwrap(model).load_state_dict(content["model"])
    return content


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint file holds; `CourseError` as for `load_checkpoint`. No code in the file is ever run."""
    path = Path(path)
    if not path.is_file():
        raise CourseError(f"{path}: there is no such file.")
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"  # what torch.save writes
        with warnings.catch_warnings():  # a foreign file gets one clear sentence, not torch's guesses as well
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.errno == errno.EINVAL:  # torch looks for the table of contents before the start of a file cut short
            raise CourseError(f"{path} is cut short or damaged. Save it again, or use an older copy.") from error
        raise CourseError(f"{path} cannot be read: {why_download_failed(error)}.") from error
    except Exception as error:  # damaged bytes raise nearly anything: RuntimeError, EOFError, UnpicklingError, KeyError
        if is_zip and "weights_only" not in str(error).lower():
            raise CourseError(f"{path} is cut short or damaged. Save it again, or use an older copy.") from error
        raise CourseError(f"{path} is not a checkpoint of this course. {WRITTEN_BY}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        if isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values()):
            way = "model.load_state_dict(torch.load(path, weights_only=True))"
            raise CourseError(f"{path} is a plain state dict, no checkpoint of this course: {way}.")
        raise CourseError(f"{path} is not a checkpoint of this course. {WRITTEN_BY}")
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        raise CourseError(
            f"{path} was written by a newer tlhelpers (format {content.get('version')}, this one reads {VERSION}): "
            "update the course."
        )
    missing = [name for name in RESERVED if name not in content]
    if missing or not isinstance(content["model"], dict):
        lost = ", ".join(missing) or "model"
        raise CourseError(f"{path} is damaged: {lost} is missing. Take an older copy, or train again.")
    return content


def check_classes(path: str | Path, saved: list[str] | None, wanted: list[str]) -> None:
    """Raise `CourseError`, which names the first difference, unless both lists of class names are the same."""
    if saved is None:
        raise CourseError(f"{path} holds no class names, so they cannot be compared; save it with classes=...")
    if saved != wanted:
        pairs = enumerate(zip(saved, wanted, strict=False))
        first = next((f"label {i} is {a!r} there, {b!r} here" for i, (a, b) in pairs if a != b), "one list goes on")
        counts = f"({len(saved)} there, {len(wanted)} here; {first})"
        raise CourseError(f"{path} belongs to other classes {counts}. Give the file that was saved for this data set.")


def check_fits(path: str | Path, content: dict[str, Any], model: nn.Module) -> None:
    """Raise `CourseError` unless the saved weights have the names and shapes of the model's."""
    saved, own = content["model"], model.state_dict()
    problems = [f"{name} is missing there" for name in own if name not in saved]
    problems += [f"{name} is missing here" for name in saved if name not in own]
    problems += [
        f"{name} is {tuple(saved[name].shape)} there, {tuple(own[name].shape)} here"
        for name in own
        if isinstance(own[name], Tensor) and name in saved and saved[name].shape != own[name].shape
    ]
    if problems:
        head = "Give the new model the same head first: replace_head(model, num_classes)."
        hint = head if len(problems) <= 2 else "Build the network that was saved, then load."
        raise CourseError(
            f"{path} holds another architecture ({content['architecture']} there, {type(model).__name__} here): "
            f"{'; '.join(problems[:2])}{f'; and {len(problems) - 2} more' if len(problems) > 2 else ''}. {hint}"
        )


def check_writable(path: str | Path) -> None:
    """Raise `CourseError` unless a file can be written at `path`; leaves no trace but the folder.

    >>> import tempfile; check_writable(Path(tempfile.mkdtemp()) / "best.pt")
    """
    path = Path(path)
    trial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        why = why_download_failed(error)
        raise CourseError(
            f"No checkpoint can be saved at {path}: {why}. Give a file in a folder of your own."
        ) from error
    if path.is_dir():
        raise CourseError(f"No checkpoint can be saved at {path}: it is a folder. Give a file name, such as best.pt.")


def copy_of_state(model: nn.Module) -> dict[str, Any]:
    """Return a copy of the state dict on the CPU. The state dict itself would change with every further step.

    >>> layer = nn.Linear(1, 1); kept = copy_of_state(layer); _ = layer.weight.data.add_(1)
    >>> bool(kept["weight"] == layer.weight)
    False
    """
    return {
        name: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in model.state_dict().items()
    }


def plain(value: Any, name: str, tuples: bool = False) -> Any:
    """Return `value` in types that `weights_only=True` loads: NumPy numbers become Python's, tensors go to the CPU.

    Tuples become lists, unless `tuples` keeps them. Raises `CourseError`, which says where, for anything else.

    >>> plain({"rates": (np.float64(0.5), None)}, "x")
    {'rates': [0.5, None]}
    """
    if isinstance(value, np.generic):
        value = value.item()  # first of all: a NumPy float64 passes for a Python float, but is not loaded back
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        return value.detach() if value.device.type == "cpu" and tuples else value.detach().to("cpu", copy=True)
    if isinstance(value, (list, tuple)):
        entries = [plain(entry, f"{name}[{i}]", tuples) for i, entry in enumerate(value)]
        return tuple(entries) if tuples and isinstance(value, tuple) else entries
    if isinstance(value, dict):
        keys = {key: plain(key, f"a key of {name}", tuples) for key in value}
        return {keys[key]: plain(entry, f"{name}[{key!r}]", tuples) for key, entry in value.items()}
    raise CourseError(
        f"A checkpoint holds only tensors, numbers, strings and lists or dicts of these, and {name} is a "
        f"{type(value).__name__}. Convert it first, for example float(x), str(x) or x.tolist()."
    )


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let a Ctrl-C, or the notebook's stop button, take effect only at the end of the block.

    >>> with interrupts_held():
    ...     done = "both halves"
    """
    if threading.current_thread() is not threading.main_thread():  # interrupts reach the main thread only
        yield
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if asked:
            signal.raise_signal(signal.SIGINT)
