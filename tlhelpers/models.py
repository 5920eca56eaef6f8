"""A network as an ordered list of named stages, and a new head in the right place.

`stages` is the central idea of the package: freezing, feature caches and the trainability table all speak in stages.
How each family is laid out stands in `layouts.py`, for timm's networks in `timm_layouts.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision import models

from . import timm_layouts
from .layouts import NAMES, Layout, Stage, device_of, torchvision_layout, unwrap
from .session import CourseError

__all__ = ["Stage", "check_head", "device_of", "head_in_features", "replace_head", "stages", "unwrap"]


def stages(model: nn.Module) -> list[Stage]:
    """Split a classifier of torchvision or timm into named stages; running them in order equals `model(x)`.

    From input to output: `stem`, then `layer1`... (ResNet) or `block1`... (others; VGG has no stem), `pool` (no
    parameters: pooling and flatten), `hidden` if the classifier has layers before its last one, and `head`. Every
    parameter belongs to exactly one stage. SqueezeNet's own classifier pools after its head, so it has no `pool` stage
    until `replace_head`. Raises `CourseError` for a network that is not known.

    >>> [stage.name for stage in stages(models.resnet18())]
    ['stem', 'layer1', 'layer2', 'layer3', 'layer4', 'pool', 'head']
    """
    return _layout(unwrap(model)).stages


def _layout(m: nn.Module) -> Layout:
    layout = torchvision_layout(m) or timm_layouts.timm_layout(m)
    if layout is None:
        raise CourseError(
            f"stages() does not know the network {type(m).__name__}; it knows torchvision's {NAMES}, and timm's "
            f"{timm_layouts.NAMES}. "
            "For another network hand its own modules to freeze(), for example freeze(model.backbone)."
        )
    return layout


def _head_layer(model: nn.Module, last: bool) -> nn.Linear | nn.Conv2d:
    head = nn.ModuleList(stages(model)[-1].modules)
    layers = [module for module in head.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    if not layers:
        raise CourseError(f"The head of this {type(unwrap(model)).__name__} has no linear layer; put one in its place.")
    return layers[-1] if last else layers[0]


def head_in_features(model: nn.Module) -> int:
    """Return how many numbers per image the head receives, or would receive where timm left it out.

    >>> head_in_features(models.resnet18())
    512
    """
    m, head = unwrap(model), stages(model)[-1]
    if isinstance(head.modules[-1], nn.Identity) and hasattr(m, "head_hidden_size"):
        return m.head_hidden_size  # timm built it with num_classes=0: no head, and the width is remembered
    layer = _head_layer(model, last=False)
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def check_head(model: nn.Module, num_classes: int) -> None:
    """Raise `CourseError` unless the last layer of the model's head gives `num_classes` scores.

    >>> check_head(models.resnet18(num_classes=5), 5)
    """
    layer = _head_layer(model, last=True)
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    if outputs != num_classes:
        raise CourseError(
            f"The head gives {outputs} scores, the data have {num_classes} classes: replace_head(model, {num_classes})."
        )


def replace_head(model: nn.Module, num_classes: int, head: nn.Module | None = None) -> nn.Module:
    """Put a new, trainable head in the place of the model's last layer, on the model's device; return the model.

    `head` is a new `nn.Linear`, or the module you give: it must turn N × `head_in_features(model)` into
    N × `num_classes`, else `CourseError`. A dropout in front of the last layer stays. SqueezeNet's convolution, whose
    ReLU would cut off negative scores, becomes pooling, flatten, dropout and linear layer. Build the optimizer later.

    >>> replace_head(models.resnet18(), 5).fc
    Linear(in_features=512, out_features=5, bias=True)
    """
    m, width = unwrap(model), head_in_features(model)
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise CourseError(f"num_classes={num_classes!r} must be a whole number of at least 1.")
    head = nn.Linear(width, num_classes) if head is None else _checked_head(head, width, num_classes)
    head = head.to(device_of(m)).requires_grad_(True)
    if isinstance(m, models.SqueezeNet):
        dropout = next((child for child in m.classifier if isinstance(child, nn.Dropout)), nn.Dropout(0.5))
        m.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), dropout, head)
    else:
        owner, _, name = _layout(m).head.rpartition(".")  # "classifier.6": the module in m.classifier called "6"
        setattr(m.get_submodule(owner), name, head)
    if hasattr(m, "num_classes"):
        m.num_classes = num_classes
    return model


def _checked_head(head: nn.Module, width: int, num_classes: int) -> nn.Module:
    """Try the head on two made-up rows, leaving its mode, BatchNorm buffers and the random state alone."""
    if not isinstance(head, nn.Module):
        raise CourseError(f"head must be a module, e.g. nn.Linear({width}, {num_classes}), not {type(head).__name__}.")
    wanted = f"The head must turn N x {width} features into N x {num_classes} scores"
    rows = torch.zeros(2, width, device=device_of(head))
    modes = {module: module.training for module in head.modules()}
    try:
        with torch.no_grad():
            scores = head.eval()(rows)
    except RuntimeError as error:
        raise CourseError(f"{wanted}, but it cannot take such rows: {error}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not isinstance(scores, Tensor) or scores.shape != (2, num_classes):
        raise CourseError(f"{wanted}; for 2 rows it gives {tuple(getattr(scores, 'shape', ()))}.")
    return head
