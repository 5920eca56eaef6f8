"""timm's networks in the course: load one, and take the transforms it was trained with. timm is imported when asked.

`stages`, `freeze`, `fit` and all the others work on timm's networks as well: see `timm_layouts.py`.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from .backbones import ResNet10_Weights
from .downloads import no_endless_wait, why_download_failed
from .layouts import unwrap
from .session import Course, CourseError, data_dir, network_available

# under these names the Hugging Face hub keeps a network's weights
FILES = ("model.safetensors", "pytorch_model.bin")


def import_timm() -> ModuleType:
    """Return the module `timm`; raise `CourseError` that says what to do where it is missing or does not load.

    >>> import_timm().__name__
    'timm'
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise CourseError(
                f"timm is installed, but {error.name}, which it needs, is not: run %pip install -U timm in a cell."
            ) from error
        raise CourseError(
            "This part needs timm, which is not installed here: run %pip install timm in a cell, then this cell again. "
            "The networks of torchvision work without it."
        ) from error
    except Exception as error:  # a timm that does not fit its PyTorch fails in many ways
        raise CourseError(
            f"timm is installed and does not load ({type(error).__name__}: {error}). Run %pip install -U timm in a "
            "cell, then restart the kernel."
        ) from error
    return timm


def timm_transforms(model: nn.Module, train: bool = False, **options: Any) -> Any:
    """Return the transform a timm network expects, as its data config says: size, crop, interpolation, mean and std.

    A PIL image goes in, a float32 tensor (3, size, size) comes out, normalised. For evaluation: Resize to
    size / crop_pct, CenterCrop, Normalize. With `train`: RandomResizedCrop from 8 % of the area on, a flip, ColorJitter
    0.4. `options` go to `timm.data.create_transform` (`scale=(0.8, 1.0)`, `color_jitter=None`, ...). Raises
    `CourseError` for a network that is not timm's. (timm.data.resolve_model_data_config)

    >>> model = timm_pretrained(None, num_classes=5)
    >>> [type(step).__name__ for step in timm_transforms(model).transforms]
    ['Resize', 'CenterCrop', 'MaybeToTensor', 'Normalize']
    """
    timm = import_timm()
    net = unwrap(model)
    if not hasattr(net, "pretrained_cfg"):
        raise CourseError(
            f"timm_transforms: this {type(net).__name__} was not made by timm.create_model and has no data config. "
            "For a network of torchvision, weights.transforms() is the transform."
        )
    config = timm.data.resolve_model_data_config(net)
    try:
        return timm.data.create_transform(**{**config, **options}, is_training=train)
    except TypeError as error:
        raise CourseError(f"timm_transforms cannot make a transform from {options}: {error}") from error


def timm_pretrained(course: Course | None, name: str | None = None, num_classes: int | None = None) -> nn.Module:
    """Return a timm network with pretrained weights, on the course's device; with `num_classes` it gets a new head.

    In `full`: `timm.create_model(name, pretrained=True, num_classes=num_classes)`, default resnet18. What was
    downloaded once is read without asking the server again; a damaged file is removed and fetched once more. When that
    fails, a ResNet is replaced by the bundled one (a printed line says so) and any other network raises `CourseError`.
    In `mini`, and without a course: timm's own ResNet class, one block per stage, with the bundled weights of resnet10,
    for 64 pixels; no network needed. `num_classes=0` leaves the head out: features only. Take the transforms from
    `timm_transforms(model)`.

    >>> model = timm_pretrained(None, num_classes=5)
    >>> type(model).__module__, model.fc.out_features
    ('timm.models.resnet', 5)
    """
    timm = import_timm()
    wrong_kind = isinstance(num_classes, bool) or not isinstance(num_classes, int)
    if num_classes is not None and (wrong_kind or num_classes < 0):
        raise CourseError(f"num_classes={num_classes!r} must be a whole number: 0 leaves out the head, None keeps it.")
    if name is not None:
        _check_name(timm, name)
    device = course.device if course else "cpu"
    if course is None or course.profile == "mini":
        if name is not None:
            print(f"mini: timm's ResNet with the bundled weights stands in for {name}.")
        return _bundled(timm, num_classes).to(device)
    name = name or "resnet18"
    try:
        model = _load(timm, name, num_classes)
    except MemoryError:  # nothing is wrong with the weights
        raise
    except Exception as error:  # the hub's client raises errors of its own, of httpx, of requests, of safetensors
        reason = f"The weights of timm's {name} could not be loaded: {_why(error)}."
        if not name.startswith("resnet"):
            advice = "Run this again with a network, or leave out the name: resnet18 has a bundled stand-in."
            raise CourseError(f"{reason} {advice}") from error
        print(f"{reason} Going on with the bundled weights in timm's ResNet, for 64 pixels.")
        model = _bundled(timm, num_classes)
    return model.to(device)


def _bundled(timm: ModuleType, num_classes: int | None) -> nn.Module:
    """timm's ResNet is built from the same layers under the same names as torchvision's, so its weights fit."""
    weights = ResNet10_Weights.DEFAULT
    weights.get_state_dict()  # a missing or damaged file is explained here
    classes, preset = len(weights.meta["categories"]), weights.transforms()
    config = dict(
        file=str(data_dir() / weights.url),
        num_classes=classes,
        input_size=(3, *preset.crop_size * 2),
        test_input_size=None,
        crop_pct=preset.crop_size[0] / preset.resize_size[0],
        test_crop_pct=None,
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
    classes = classes if num_classes is None else num_classes
    return timm.create_model(
        "resnet18", pretrained=True, num_classes=classes, layers=(1, 1, 1, 1), pretrained_cfg_overlay=config
    )


def _check_name(timm: ModuleType, name: str) -> None:
    if not isinstance(name, str) or not name:
        raise CourseError(f"name={name!r} must be the name of a timm network, such as 'resnet18'.")
    if ":" in name or timm.is_model_pretrained(name):  # "hf-hub:owner/network" is looked up there
        return
    known = {full.split(".")[0] for full in timm.list_models(pretrained=True)}
    close = difflib.get_close_matches(name.split(".")[0], sorted(known), n=3)
    raise CourseError(
        f"timm has no network {name!r} with pretrained weights. Similar names: {', '.join(close) or 'none'}; "
        "timm.list_models('*resnet*', pretrained=True) lists all that hold a word."
    )


def _load(timm: ModuleType, name: str, num_classes: int | None) -> nn.Module:
    options = {} if num_classes is None else {"num_classes": num_classes}
    config = None if ":" in name else timm.get_pretrained_cfg(name)
    repository = getattr(config, "hf_hub_id", None)
    with no_endless_wait(), _no_progress_bars():
        file = _in_cache(repository, config) if repository else None
        if file is not None:
            try:  # from the file itself: the hub's client would ask the server first, and wait long for an answer
                return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(file)}, **options)
            except Exception as error:
                # a good download stays when memory runs out, or when the file does not fit the network
                if not _damaged(error) or not os.access(file.resolve(), os.W_OK):
                    raise
                file.resolve().unlink()  # what the cache shows is a link to it
                file.unlink(missing_ok=True)
                what = f"The weights file {file.name} of {name} was cut short or damaged"
                print(f"{what} and has been removed; fetching it again.")
        if repository:
            from huggingface_hub import constants

            # the client tries six times for each of two files, a minute in all: ask once, shortly
            if constants.HF_HUB_OFFLINE or not network_available(constants.ENDPOINT):
                raise ConnectionError
        return timm.create_model(name, pretrained=True, **options)


def _in_cache(repository: str, config: Any) -> Path | None:
    """The weights file that an earlier download left in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    for filename in (config.hf_hub_filename,) if config.hf_hub_filename else FILES:
        found = try_to_load_from_cache(repository, filename, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """The hub's bars end up as stderr in a saved notebook."""
    from huggingface_hub import utils

    were_off = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            utils.enable_progress_bars()


# what torch.load and torch.hub say about a file that was cut short or changed
SIGNS_OF_DAMAGE = ("PytorchStreamReader", "unexpected EOF", "corrupt", "invalid magic number", "invalid hash value")


def _damaged(error: BaseException) -> bool:
    """Whether the weights file itself cannot be read; not so when memory runs out or its tensors do not fit."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):
        return "Unsupported global" not in text  # whole, but it holds more than tensors
    if isinstance(error, EOFError | zipfile.BadZipFile) or type(error).__name__ == "SafetensorError":
        return True
    return isinstance(error, RuntimeError) and any(sign in text for sign in SIGNS_OF_DAMAGE)


def _why(error: BaseException) -> str:
    """`why_download_failed` for the errors that hide the real one behind them."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    names = " ".join(type(link).__name__ for link in chain)
    answers = [getattr(getattr(link, "response", None), "status_code", None) for link in chain]
    if any(answers):
        return f"the server refused (HTTP {next(filter(None, answers))})"
    if "Timeout" in names:
        return "the server stopped answering"
    if "Connect" in names:
        return "no connection to the server"
    if "package not installed" in str(chain[0]):  # timm's word for a huggingface_hub that is missing or too new for it
        return "timm and huggingface_hub do not fit each other, run %pip install -U timm huggingface_hub in a cell"
    if any(map(_damaged, chain)):
        return "the file arrived cut short or damaged"
    if isinstance(chain[0], RuntimeError):  # tensors that do not fit, a device: the first of many lines says it
        return f"{type(chain[0]).__name__}: {str(chain[0]).partition(chr(10))[0].rstrip('.:')}"
    return why_download_failed(chain[0])
