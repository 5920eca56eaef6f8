"""A network as an ordered list of named stages, and a new head in the right place.

`stages` is the central idea of the package: freezing, feature caches and the trainability table all speak in stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision import models

from .session import CourseError

KNOWN = "ResNet, VGG, AlexNet, SqueezeNet, DenseNet, EfficientNet, MobileNetV2/V3, ConvNeXt, VisionTransformer"


@dataclass
class Stage:
    """One part of a network: a name and the modules that run one after the other.

    >>> stage = Stage("head", [nn.Flatten(), nn.Linear(12, 2)])
    >>> stage(torch.zeros(5, 3, 2, 2)).shape
    torch.Size([5, 2])
    """

    name: str  # "stem", "layer1" or "block1" ..., "pool", "hidden", "head"
    modules: list[nn.Module]

    def forward(self, x: Tensor) -> Tensor:
        """Run the stage on the output of the stage before it."""
        for module in self.modules:
            x = module(x)
        return x

    __call__ = forward

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield every parameter of the stage once."""
        return nn.ModuleList(self.modules).parameters()


class _Tokens(nn.Module):
    """The input side of torchvision's VisionTransformer: patches, class token, positions.

    Modules and parameters are the transformer's own, not copies; (N, 3, H, W) -> (N, 1 + patches, width).
    """

    def __init__(self, vit: models.VisionTransformer) -> None:
        super().__init__()
        self.conv_proj, self.class_token = vit.conv_proj, vit.class_token
        self.pos_embedding, self.dropout = vit.encoder.pos_embedding, vit.encoder.dropout

    def forward(self, x: Tensor) -> Tensor:
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], dim=1)
        return self.dropout(tokens + self.pos_embedding)


class _ClassToken(nn.Module):
    """(N, 1 + patches, width) -> (N, width): the class token stands for the whole image."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside `torch.compile` and `DataParallel` wrappers; any other model unchanged.

    >>> inner = nn.Linear(2, 2)
    >>> unwrap(nn.DataParallel(inner)) is inner
    True
    """
    while isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)) or hasattr(model, "_orig_mod"):
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module
    return model


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's parameters (the CPU for a model that has none)."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def stages(model: nn.Module) -> list[Stage]:
    """Split a torchvision classifier into named stages; running them in order equals `model(x)`.

    From input to output: `stem`, then `layer1`... (ResNet) or `block1`... (others; VGG has no stem), `pool` (no
    parameters: pooling and flatten), `hidden` if the classifier has layers before its last one, and `head`. Every
    parameter belongs to exactly one stage. SqueezeNet's own classifier pools after its head, so it has no `pool` stage
    until `replace_head`. Raises `CourseError` for a network that is not known.

    >>> [stage.name for stage in stages(models.resnet18())]
    ['stem', 'layer1', 'layer2', 'layer3', 'layer4', 'pool', 'head']
    """
    m = unwrap(model)
    flatten = nn.Flatten(1)
    if isinstance(m, models.ResNet):
        layers = [Stage(f"layer{i}", [getattr(m, f"layer{i}")]) for i in (1, 2, 3, 4)]
        stem, pool = Stage("stem", [m.conv1, m.bn1, m.relu, m.maxpool]), Stage("pool", [m.avgpool, flatten])
        return [stem, *layers, pool, Stage("head", [m.fc])]
    if isinstance(m, models.VisionTransformer):
        blocks = _numbered([[layer] for layer in m.encoder.layers])
        blocks[-1].modules.append(m.encoder.ln)
        return [Stage("stem", [_Tokens(m)]), *blocks, Stage("pool", [_ClassToken()]), *_classifier_stages(m.heads)]
    if isinstance(m, models.VGG):
        body, pool = _numbered(_ending_in_pool(m.features)), [m.avgpool, flatten]
    elif isinstance(m, models.AlexNet):
        body, pool = _with_stem(_ending_in_pool(m.features)), [m.avgpool, flatten]
    elif isinstance(m, models.SqueezeNet):
        body = _with_stem(_ending_in_pool(m.features))
        if isinstance(m.classifier[0], nn.AdaptiveAvgPool2d):  # as replace_head leaves it
            return [*body, Stage("pool", list(m.classifier[:2])), Stage("head", list(m.classifier[2:]))]
        return [*body, Stage("head", [*m.classifier, flatten])]
    elif isinstance(m, models.DenseNet):
        f = m.features
        parts = [[getattr(f, f"denseblock{i}"), getattr(f, f"transition{i}", f.norm5)] for i in (1, 2, 3, 4)]
        pool = Stage("pool", [nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), flatten])
        return [*_with_stem([[f.conv0, f.norm0, f.relu0, f.pool0], *parts]), pool, Stage("head", [m.classifier])]
    elif isinstance(m, models.ConvNeXt):
        f = list(m.features)  # stem, blocks, then downsampling and blocks by turns
        body, pool = _with_stem([f[:1], f[1:2], *(f[i : i + 2] for i in range(2, len(f), 2))]), [m.avgpool]
    elif isinstance(m, models.MobileNetV2):
        body, pool = _with_stem([[child] for child in m.features]), [nn.AdaptiveAvgPool2d(1), flatten]
    elif isinstance(m, (models.EfficientNet, models.MobileNetV3)):
        body, pool = _with_stem([[child] for child in m.features]), [m.avgpool, flatten]
    else:
        raise CourseError(
            f"stages() does not know the network {type(m).__name__}; it knows torchvision's {KNOWN}. "
            "For another network hand its own modules to freeze(), for example freeze(model.backbone)."
        )
    return [*body, Stage("pool", pool), *_classifier_stages(m.classifier)]


def _numbered(parts: list[list[nn.Module]]) -> list[Stage]:
    return [Stage(f"block{i}", part) for i, part in enumerate(parts, start=1)]


def _with_stem(parts: list[list[nn.Module]]) -> list[Stage]:
    return [Stage("stem", parts[0]), *_numbered(parts[1:])]


def _ending_in_pool(features: nn.Sequential) -> list[list[nn.Module]]:
    """Cut a chain of layers after every max-pooling: each part works at one resolution."""
    parts: list[list[nn.Module]] = [[]]
    for layer in features:
        parts[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            parts.append([])
    return [part for part in parts if part]


def _classifier_stages(classifier: nn.Module) -> list[Stage]:
    """`head` = the last child with parameters and the dropout right before it; what comes earlier is `hidden`."""
    if not isinstance(classifier, nn.Sequential):
        return [Stage("head", [classifier])]
    children = list(classifier)
    start = _last_layer(classifier)
    if start and isinstance(children[start - 1], nn.Dropout):
        start -= 1
    hidden = [Stage("hidden", children[:start])] if start else []
    return [*hidden, Stage("head", children[start:])]


def _last_layer(classifier: nn.Sequential) -> int:
    with_parameters = [i for i, child in enumerate(classifier) if any(True for _ in child.parameters())]
    return with_parameters[-1] if with_parameters else len(classifier) - 1


def _head_layer(model: nn.Module, last: bool) -> nn.Linear | nn.Conv2d:
    head = nn.ModuleList(stages(model)[-1].modules)
    layers = [module for module in head.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    if not layers:
        raise CourseError(f"The head of this {type(unwrap(model)).__name__} has no linear layer; put one in its place.")
    return layers[-1] if last else layers[0]


def head_in_features(model: nn.Module) -> int:
    """Return how many numbers per image the head receives.

    >>> head_in_features(models.resnet18())
    512
    """
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
    if isinstance(m, models.ResNet):
        m.fc = head
    elif isinstance(m, models.DenseNet):
        m.classifier = head
    elif isinstance(m, models.SqueezeNet):
        dropout = next((child for child in m.classifier if isinstance(child, nn.Dropout)), nn.Dropout(0.5))
        m.classifier, m.num_classes = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), dropout, head), num_classes
    else:
        classifier = m.heads if isinstance(m, models.VisionTransformer) else m.classifier
        if isinstance(classifier, nn.Sequential):
            classifier[_last_layer(classifier)] = head
        else:
            m.classifier = head
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
