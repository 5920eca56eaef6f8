"""Load a pretrained torchvision network, and survive a download that fails."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from urllib.parse import urlparse

import torch
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum

from . import backbones  # noqa: F401  registers the bundled networks, so that get_model knows their names
from .downloads import DOWNLOAD_ERRORS, no_endless_wait, why_download_failed
from .models import replace_head
from .session import Course, CourseError

# which bundled network can stand in when the weights of a larger relative cannot be had
STAND_INS = {"resnet": "resnet10", "efficientnet": "efficientnet_mini", "vgg": "vgg9_bn"}


def pretrained(course: Course | None, arch: str, num_classes: int | None = None) -> tuple[nn.Module, WeightsEnum]:
    """Return torchvision's `arch` with its default weights, on the course's device, and the weights entry.

    The same as `models.get_model(arch, weights="DEFAULT")`, plus what a failed download needs: a file that arrived cut
    short is removed and fetched once more; when that fails too, a ResNet, EfficientNet or VGG is replaced by the
    bundled one (a printed line says so; take the transforms from the returned weights), and any other network raises
    `CourseError`.
    With `num_classes` the head is replaced. https://pytorch.org/vision/stable/models.html

    >>> model, weights = pretrained(None, "resnet10", num_classes=5)
    >>> model.fc.out_features, weights.transforms().crop_size
    (5, [64])
    """
    if arch not in models.list_models(module=models) and arch not in STAND_INS.values():
        raise CourseError(f"torchvision has no classifier {arch!r}; models.list_models(module=models) lists the names.")
    try:
        model, weights = load_default(arch), models.get_model_weights(arch).DEFAULT
    except (*DOWNLOAD_ERRORS, UnpicklingError) as error:
        stand_in = next((name for prefix, name in STAND_INS.items() if arch.startswith(prefix) and arch != name), None)
        reason = f"The weights of {arch} could not be loaded: {why_download_failed(error)}."
        if stand_in is None:
            raise CourseError(f"{reason} Run this again with a network, or use the bundled resnet10.") from error
        print(f"{reason} Going on with the bundled {stand_in}.")
        model, weights = load_default(stand_in), models.get_model_weights(stand_in).DEFAULT
    if num_classes is not None:
        replace_head(model, num_classes)
    return model.to(course.device if course else "cpu"), weights


def load_default(arch: str) -> nn.Module:
    """`get_model` with the default weights; a weights file that cannot be read is removed and fetched once more.

    >>> load_default("efficientnet_mini").classifier[1].in_features
    640
    """
    file = cached_weights_file(models.get_model_weights(arch).DEFAULT)
    was_there = file.is_file()
    with no_endless_wait():
        try:
            return models.get_model(arch, weights="DEFAULT", progress=False)
        except (*DOWNLOAD_ERRORS, UnpicklingError):
            if not (was_there and os.access(file, os.W_OK)):
                raise
            file.unlink()
            print(f"The weights file {file.name} was cut short or damaged and has been removed; fetching it again.")
            return models.get_model(arch, weights="DEFAULT", progress=False)


def cached_weights_file(weights: WeightsEnum) -> Path:
    """Return where torch.hub keeps the downloaded file of a weights entry (it need not be there yet).

    >>> cached_weights_file(models.ResNet18_Weights.DEFAULT).name
    'resnet18-f37072fd.pth'
    """
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name
