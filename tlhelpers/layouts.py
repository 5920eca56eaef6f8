"""How each family of torchvision's networks is laid out: its stages in order, and where its last layer sits.

`models.py` reads a layout for `stages` and `replace_head`; `timm_layouts.py` has the same for timm's networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision import models

NAMES = (
    "ResNet, VGG, AlexNet, SqueezeNet, DenseNet, EfficientNet, MobileNetV2/V3, ConvNeXt, SwinTransformer, "
    "VisionTransformer"
)


@dataclass
class Stage:
    """One part of a network: a name and the modules that run one after the other.

    >>> stage = Stage("head", [nn.Flatten(), nn.Linear(12, 2)])
    >>> stage(torch.zeros(5, 3, 2, 2)).shape
    torch.Size([5, 2])
    """

    name: str  # "stem", "layer1" or "block1" ..., "pool", "hidden", "head"
    modules: list[nn.Module]
    channels: int = 1  # the dimension of its output that counts channels: 1 in N x C x H x W, 3 in Swin's N x H x W x C

    def forward(self, x: Tensor) -> Tensor:
        """Run the stage on the output of the stage before it."""
        for module in self.modules:
            x = module(x)
        return x

    __call__ = forward

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield every parameter of the stage once."""
        return nn.ModuleList(self.modules).parameters()


@dataclass
class Layout:
    """The stages of one network, and the path of its last layer, such as `classifier.6`.

    >>> torchvision_layout(models.resnet18()).head
    'fc'
    """

    stages: list[Stage]
    head: str


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
    """Return the device of the model's parameters (the CPU for a model that has none).

    >>> device_of(nn.Linear(2, 2))
    device(type='cpu')
    """
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def torchvision_layout(m: nn.Module) -> Layout | None:
    """Return the layout of one of torchvision's classifiers, None for any other network.

    >>> [stage.name for stage in torchvision_layout(models.vgg11(init_weights=False)).stages][-3:]
    ['pool', 'hidden', 'head']
    """
    flatten = nn.Flatten(1)
    if isinstance(m, models.ResNet):
        layers = [Stage(f"layer{i}", [getattr(m, f"layer{i}")]) for i in (1, 2, 3, 4)]
        stem, pool = Stage("stem", [m.conv1, m.bn1, m.relu, m.maxpool]), Stage("pool", [m.avgpool, flatten])
        return Layout([stem, *layers, pool, Stage("head", [m.fc])], "fc")
    if isinstance(m, models.VisionTransformer):
        blocks = numbered([[layer] for layer in m.encoder.layers])
        blocks[-1].modules.append(m.encoder.ln)
        start = with_channels_in(2, [Stage("stem", [_Tokens(m)]), *blocks])  # N x tokens x width
        start.append(Stage("pool", [_ClassToken()]))
        return _with_classifier(start, "heads", m.heads)
    if isinstance(m, models.SwinTransformer):
        body = with_channels_in(3, with_stem(_downsampling_first(m.features)))
        body[-1].modules += [m.norm, m.permute]
        body[-1].channels = 1  # turned round for the pooling
        return Layout([*body, Stage("pool", [m.avgpool, m.flatten]), Stage("head", [m.head])], "head")
    if isinstance(m, models.VGG):
        body, pool = numbered(_ending_in_pool(m.features)), [m.avgpool, flatten]
    elif isinstance(m, models.AlexNet):
        body, pool = with_stem(_ending_in_pool(m.features)), [m.avgpool, flatten]
    elif isinstance(m, models.SqueezeNet):
        body = with_stem(_ending_in_pool(m.features))
        if isinstance(m.classifier[0], nn.AdaptiveAvgPool2d):  # as replace_head leaves it
            pooled = [Stage("pool", list(m.classifier[:2])), Stage("head", list(m.classifier[2:]))]
            return Layout([*body, *pooled], "classifier.3")
        return Layout([*body, Stage("head", [*m.classifier, flatten])], "classifier.1")
    elif isinstance(m, models.DenseNet):
        f = m.features
        parts = [[getattr(f, f"denseblock{i}"), getattr(f, f"transition{i}", f.norm5)] for i in (1, 2, 3, 4)]
        body = with_stem([[f.conv0, f.norm0, f.relu0, f.pool0], *parts])
        pool = Stage("pool", [nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), flatten])
        return Layout([*body, pool, Stage("head", [m.classifier])], "classifier")
    elif isinstance(m, models.ConvNeXt):
        body, pool = with_stem(_downsampling_first(m.features)), [m.avgpool]
    elif isinstance(m, models.MobileNetV2):
        body, pool = with_stem([[child] for child in m.features]), [nn.AdaptiveAvgPool2d(1), flatten]
    elif isinstance(m, (models.EfficientNet, models.MobileNetV3)):
        body, pool = with_stem([[child] for child in m.features]), [m.avgpool, flatten]
    else:
        return None
    return _with_classifier([*body, Stage("pool", pool)], "classifier", m.classifier)


def numbered(parts: list[list[nn.Module]]) -> list[Stage]:
    """Name lists of modules block1, block2, ...

    >>> [stage.name for stage in numbered([[nn.Identity()], [nn.Identity()]])]
    ['block1', 'block2']
    """
    return [Stage(f"block{i}", part) for i, part in enumerate(parts, start=1)]


def with_stem(parts: list[list[nn.Module]]) -> list[Stage]:
    """Name lists of modules stem, block1, block2, ...

    >>> [stage.name for stage in with_stem([[nn.Identity()], [nn.Identity()]])]
    ['stem', 'block1']
    """
    return [Stage("stem", parts[0]), *numbered(parts[1:])]


def with_channels_in(dimension: int, parts: list[Stage]) -> list[Stage]:
    """Note for each stage which dimension of its output counts the channels; return the stages.

    >>> with_channels_in(3, [Stage("stem", [])])[0].channels
    3
    """
    for part in parts:
        part.channels = dimension
    return parts


def _ending_in_pool(features: nn.Sequential) -> list[list[nn.Module]]:
    """Cut a chain of layers after every max-pooling: each part works at one resolution."""
    parts: list[list[nn.Module]] = [[]]
    for layer in features:
        parts[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            parts.append([])
    return [part for part in parts if part]


def _downsampling_first(features: nn.Sequential) -> list[list[nn.Module]]:
    """ConvNeXt and Swin list stem, blocks, then downsampling and blocks by turns: a part is what has one resolution."""
    f = list(features)
    return [f[:1], f[1:2], *(f[i : i + 2] for i in range(2, len(f), 2))]


def _with_classifier(start: list[Stage], name: str, classifier: nn.Module) -> Layout:
    """`head` = the last child with parameters and the dropout right before it; what comes earlier is `hidden`."""
    if not isinstance(classifier, nn.Sequential):
        return Layout([*start, Stage("head", [classifier])], name)
    names, children = list(classifier._modules), list(classifier)
    with_parameters = [i for i, child in enumerate(children) if any(True for _ in child.parameters())]
    last = first = with_parameters[-1] if with_parameters else len(children) - 1
    if last and isinstance(children[last - 1], nn.Dropout):
        first -= 1
    hidden = [Stage("hidden", children[:first])] if first else []
    return Layout([*start, *hidden, Stage("head", children[first:])], f"{name}.{names[last]}")


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
