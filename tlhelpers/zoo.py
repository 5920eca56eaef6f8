"""Networks side by side: where the head of each sits, what it costs, how fast this computer is with it."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torchvision import models

from .costs import count_macs, images_per_second
from .freezing import preserved_random_state
from .loading import STAND_INS
from .models import stages, unwrap
from .session import CourseError, choose_device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# one or two of each family of classifiers that torchvision has weights for, the oldest idea first
FAMILIES = {
    "vgg16": "VGG16",
    "squeezenet1_1": "SqueezeNet 1.1",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenet_v3_large": "MobileNetV3-Large",
    "efficientnet_b0": "EfficientNet-B0",
    "vit_b_16": "ViT-B/16",
    "swin_t": "Swin-T",
    "convnext_tiny": "ConvNeXt-Tiny",
}


def blueprint(name: str, **options: object) -> nn.Module:
    """Build torchvision's network `name` without its numbers: every tensor has a shape and no memory (device "meta").

    Enough to look at its layers, to count parameters and MACs; an image sent through it gives a shape and no values.
    `options` go to the builder (`num_classes=5`). Raises `CourseError` for a name torchvision does not have.
    https://pytorch.org/docs/stable/meta.html

    >>> vgg = blueprint("vgg16")
    >>> vgg.classifier[6], vgg.classifier[6].weight.device
    (Linear(in_features=4096, out_features=1000, bias=True), device(type='meta'))
    """
    _check_name(name)
    try:
        with preserved_random_state(), torch.device("meta"):
            return models.get_model(name, weights=None, **options)
    except RuntimeError as error:  # its builder looks at values, and on meta there are none
        raise CourseError(
            f"{name} cannot be built without numbers: models.get_model({name!r}, weights=None)."
        ) from error


def _check_name(name: str) -> None:
    # classifiers only: detectors and segmentation networks would fetch a backbone even without weights of their own
    if name not in [*models.list_models(module=models), *STAND_INS.values()]:
        raise CourseError(f"torchvision has no classifier {name!r}; models.list_models(module=models) lists the names.")


def head_place(model: nn.Module) -> str:
    """Return where the layer with the scores hangs, as you would write it: `model.` plus this.

    >>> head_place(blueprint("resnet18")), head_place(blueprint("vgg16"))
    ('fc', 'classifier[6]')
    """
    layers = [module for module in nn.ModuleList(stages(model)[-1].modules).modules() if _has_scores(module)]
    if not layers:
        raise CourseError(
            f"This {type(unwrap(model)).__name__} has no head: replace_head(model, num_classes) adds one."
        )
    path = next(path for path, module in unwrap(model).named_modules() if module is layers[-1])
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split(".")).lstrip(".")


def _has_scores(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d)


@dataclass(frozen=True)
class Family:
    """One row of `family_table`: a network, its size, its work for one image, its speed here, its accuracy."""

    name: str
    head: str  # where the layer with the scores hangs: "fc", "classifier[6]"
    parameters: int
    macs: int  # for one image
    forward: float  # images a second on this computer
    backward: float  # the same with all gradients
    top1: float  # per cent on ImageNet's validation images, as published with torchvision's default weights


def family_table(
    names: Iterable[str] = tuple(FAMILIES),
    size: int = 224,
    batch: int = 2,
    device: torch.device | str = "cpu",
    seconds: float = 0.3,
) -> list[Family]:
    """Build each network with random weights, measure it here, let it go again; return one `Family` for each.

    Speed does not depend on what the weights are, so none are downloaded; the accuracy is what torchvision publishes
    with its default weights. Two images to a batch by default: enough to compare, too few to fill a GPU. Raises
    `CourseError` for a name torchvision has no ImageNet weights for.

    >>> [row] = family_table(["squeezenet1_1"], size=64, seconds=0.0)
    >>> row.head, row.parameters, row.top1
    ('classifier[1]', 1235496, 58.178)
    """
    if batch < 2:
        raise CourseError(f"batch={batch} must be at least 2: BatchNorm cannot train on a single image.")
    return [_measured(name, size, batch, device, seconds) for name in names]


def _measured(name: str, size: int, batch: int, device: torch.device | str, seconds: float) -> Family:
    _check_name(name)
    metrics = models.get_model_weights(name).DEFAULT.meta["_metrics"].get("ImageNet-1K")
    if metrics is None:
        raise CourseError(f"family_table: {name} has no accuracy on ImageNet; FAMILIES lists networks that have one.")
    # a transformer of one image size is built for it; every other network takes any
    options = {"image_size": size} if name.startswith("vit") else {}
    try:
        with preserved_random_state():
            model = models.get_model(name, weights=None, **options).to(choose_device(device))
            images = torch.randn(batch, 3, size, size)
    except AssertionError as error:
        raise CourseError(f"{name} cannot be built for {size} pixels ({error}): take a multiple of 32.") from error
    head = head_place(model)
    count = sum(parameter.numel() for parameter in model.parameters())
    macs = count_macs(blueprint(name, **options), size)
    forward = images_per_second(model, images, seconds=seconds)
    backward = images_per_second(model, images, backward=True, seconds=seconds)
    row = Family(name, head, count, macs, forward, backward, metrics["acc@1"])
    del model
    gc.collect()  # a large network is gone before the next one comes
    return row


def format_families(rows: Iterable[Family]) -> str:
    """Return the rows of `family_table` as text, one line each, ready to print.

    >>> print(format_families([Family("vgg16", "classifier[6]", 138357544, 15470264320, 3.0, 1.0, 71.592)]))
    network            the head is      parameters    GMACs  forward/s  backward/s  top-1 %
    vgg16              classifier[6]       138.4 M    15.47        3.0         1.0    71.59
    """
    header = f"{'network':18} {'the head is':15} {'parameters':>11} {'GMACs':>8}"
    lines = [f"{header} {'forward/s':>10} {'backward/s':>11}  top-1 %"]
    for row in rows:
        lines.append(
            f"{row.name:18} {row.head:15} {row.parameters / 1e6:9.1f} M {row.macs / 1e9:8.2f} "
            f"{row.forward:10.1f} {row.backward:11.1f} {row.top1:8.2f}"
        )
    return "\n".join(lines)


def plot_families(rows: Iterable[Family]) -> Figure:
    """Draw accuracy against speed, the area of a dot showing the parameters.

    >>> figure = plot_families([Family("vgg16", "classifier[6]", 138357544, 15470264320, 3.0, 1.0, 71.592)])
    >>> figure.axes[0].get_xscale()
    'log'
    """
    import matplotlib.pyplot as plt

    rows = sorted(rows, key=lambda row: -row.top1)
    if not rows:
        raise CourseError("plot_families: there are no rows; family_table() makes them.")
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4), sharey=True, layout="constrained")
    for ax, what, title in ((left, "forward", "predicting"), (right, "backward", "training all layers")):
        line = 100.0
        for row in rows:
            speed = getattr(row, what)
            line = min(row.top1, line - 1.7)  # names stand below each other, never on top
            ax.scatter(speed, row.top1, s=4 * row.parameters / 1e6 + 8, color="#0072B2", alpha=0.5, linewidths=0)
            thin = {"arrowstyle": "-", "linewidth": 0.5, "color": "grey"}
            ax.annotate(row.name, (speed, row.top1), (speed * 1.25, line), fontsize=8, va="center", arrowprops=thin)
        speeds = [getattr(row, what) for row in rows]
        ax.set(xscale="log", xlabel="images a second here", title=title, xlim=(min(speeds) / 2, max(speeds) * 5))
        ax.margins(y=0.12)
    left.set_ylabel("top-1 on ImageNet in %")
    return fig
