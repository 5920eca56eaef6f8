"""The three bundled backbones, under torchvision's own model API.

``resnet10``, ``efficientnet_mini`` and ``vgg9_bn`` are built from torchvision's own classes, have a ``WeightsEnum``
like every torchvision model and are registered by name, so a lesson calls them as it would call ``resnet18``. Their
weights were trained by ``data/pretrain.py`` on drawn images only; the files lie in the course's data folder, nothing is
downloaded.

>>> from torchvision import models
>>> model = models.get_model("resnet10", weights=None, num_classes=5)
>>> models.get_model_weights("resnet10").DEFAULT.transforms().crop_size
[64]
"""

import hashlib
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models._api import BUILTIN_MODELS, Weights, WeightsEnum, register_model
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vgg import VGG, make_layers
from torchvision.transforms._presets import ImageClassification

from .session import CourseError, data_dir

__all__ = [
    "resnet10",
    "ResNet10_Weights",
    "efficientnet_mini",
    "EfficientNet_Mini_Weights",
    "vgg9_bn",
    "VGG9_BN_Weights",
]

# Written by data/pretrain.py and data/measure.py: sha256 of the file, source classes, recipe, measured accuracies.
_META = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


class _BundledWeights(WeightsEnum):
    """A torchvision ``WeightsEnum`` whose state dict is read from the course's data folder."""

    def get_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Read the bundled file, check its sha256 and return its tensors as float32.

        ``progress=`` and ``check_hash=`` are accepted as torchvision passes them; the hash is always checked.
        Raises ``CourseError`` when the file is missing or differs from the one that belongs to this course.
        """
        path = data_dir() / self.url
        repair = (
            "Restore them with 'git checkout data/weights', or run 'python -m tlhelpers' to see what else is missing."
        )
        if not path.is_file():
            raise CourseError(f"The bundled weights {path} are missing. {repair}")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.meta["sha256"]:
            raise CourseError(f"The bundled weights {path} are damaged: sha256 does not match. {repair}")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        # Half precision halves the file; counters (num_batches_tracked) are integers and stay so.
        return {name: t.float() if t.is_floating_point() else t for name, t in state.items()}


def _entry(arch: str) -> Weights:
    return Weights(
        url=f"weights/{arch}.pth",  # relative to the data folder
        transforms=partial(ImageClassification, crop_size=64, resize_size=64),
        meta=_META[arch],
    )


class ResNet10_Weights(_BundledWeights):
    """Weights of :func:`resnet10`. ``SYNTHETIC_V1`` was trained on drawn images at 64 px (see data/README.md)."""

    SYNTHETIC_V1 = _entry("resnet10")
    DEFAULT = SYNTHETIC_V1


class EfficientNet_Mini_Weights(_BundledWeights):
    """Weights of :func:`efficientnet_mini`. ``SYNTHETIC_V1`` was trained on drawn images at 64 px."""

    SYNTHETIC_V1 = _entry("efficientnet_mini")
    DEFAULT = SYNTHETIC_V1


class VGG9_BN_Weights(_BundledWeights):
    """Weights of :func:`vgg9_bn`. ``SYNTHETIC_V1`` was trained on drawn images at 64 px."""

    SYNTHETIC_V1 = _entry("vgg9_bn")
    DEFAULT = SYNTHETIC_V1


def _with_weights(build: Any, weights: WeightsEnum | None, progress: bool, kwargs: dict[str, Any]) -> Any:
    """Build the network; with weights, the class count is theirs and any other is refused, as torchvision does."""
    if weights is None:
        return build(**kwargs)
    state = weights.get_state_dict(progress=progress, check_hash=True)
    num_classes = len(weights.meta["categories"])
    if kwargs.setdefault("num_classes", num_classes) != num_classes:
        raise ValueError(
            f"The parameter 'num_classes' expected value {num_classes} but got {kwargs['num_classes']} instead. "
            "Build with weights first, then replace the head."
        )
    model = build(**kwargs)
    model.load_state_dict(state)
    return model


def resnet10(*, weights: ResNet10_Weights | None = None, progress: bool = True, **kwargs: Any) -> ResNet:
    """A ResNet of four basic blocks, one per stage: 4.9 million parameters in the body, 512 features.

    Args:
        weights: an entry of ``ResNet10_Weights``, its name (``"DEFAULT"``), or None for a random start.
        progress: accepted for torchvision's sake; nothing is downloaded.
        **kwargs: passed to ``torchvision.models.resnet.ResNet`` (``num_classes``, ``norm_layer``, ...).

    Images are N×3×64×64, normalised as ``weights.transforms()`` does. Source: He et al. 2015, arXiv 1512.03385.

    >>> resnet10(num_classes=102).fc.out_features
    102
    """
    weights = ResNet10_Weights.verify(weights)
    return _with_weights(partial(ResNet, BasicBlock, [1, 1, 1, 1]), weights, progress, kwargs)


def efficientnet_mini(
    *, weights: EfficientNet_Mini_Weights | None = None, progress: bool = True, **kwargs: Any
) -> EfficientNet:
    """An EfficientNet of half B0's width and half its depth: 640 features, made for 64 px.

    Arguments as for :func:`resnet10`; ``**kwargs`` go to ``torchvision.models.efficientnet.EfficientNet``
    (``num_classes``, ``dropout``, ``stochastic_depth_prob``, ...). Source: Tan and Le 2019, arXiv 1905.11946.

    >>> efficientnet_mini(num_classes=102).classifier[1].in_features
    640
    """
    weights = EfficientNet_Mini_Weights.verify(weights)
    block = partial(MBConvConfig, width_mult=0.5, depth_mult=0.5)
    # The rows of EfficientNet-B0: expansion, kernel, stride, channels in, channels out, layers.
    setting = [
        block(1, 3, 1, 32, 16, 1),
        block(6, 3, 2, 16, 24, 2),
        block(6, 5, 2, 24, 40, 2),
        block(6, 3, 2, 40, 80, 3),
        block(6, 5, 1, 80, 112, 3),
        block(6, 5, 2, 112, 192, 4),
        block(6, 3, 1, 192, 320, 1),
    ]
    # Nine blocks are too few to drop any of them at random.
    kwargs.setdefault("dropout", 0.2)
    kwargs.setdefault("stochastic_depth_prob", 0.0)
    return _with_weights(partial(EfficientNet, setting), weights, progress, kwargs)


def vgg9_bn(*, weights: VGG9_BN_Weights | None = None, progress: bool = True, **kwargs: Any) -> VGG:
    """A VGG of six convolutions with BatchNorm and three linear layers: 512 hidden units, last layer ``classifier[6]``.

    Arguments as for :func:`resnet10`, but ``**kwargs`` know ``num_classes`` and ``dropout`` (0.2) only. Images of 64 px
    or, as STL-10's, of 96 px. Source: Simonyan and Zisserman 2014, arXiv 1409.1556.

    >>> vgg9_bn(num_classes=10).classifier[6]
    Linear(in_features=512, out_features=10, bias=True)
    """
    return _with_weights(_small_vgg, VGG9_BN_Weights.verify(weights), progress, kwargs)


def _small_vgg(num_classes: int = 1000, dropout: float = 0.2) -> VGG:
    # VGG's own __init__ always makes linear layers of 120 million weights. On the device "meta" they take no memory,
    # and smaller ones, in the same places of the same class, replace them.
    with torch.device("meta"):
        model = VGG(nn.Identity(), init_weights=False)
    model.features = make_layers([32, "M", 64, "M", 128, "M", 256, "M", 256, 256, "M"], batch_norm=True)
    model.avgpool = nn.AdaptiveAvgPool2d(2)  # 64 px arrive as 2 x 2 cells, 96 px as 3 x 3
    layers: list[nn.Module] = []
    for inputs in (256 * 2 * 2, 512):
        layers += [nn.Linear(inputs, 512), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    model.classifier = nn.Sequential(*layers, nn.Linear(512, num_classes))
    return model


for _builder in (resnet10, efficientnet_mini, vgg9_bn):
    BUILTIN_MODELS.pop(_builder.__name__, None)  # so that reloading this module in a notebook does not fail
    register_model()(_builder)
