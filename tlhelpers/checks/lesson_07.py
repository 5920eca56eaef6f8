"""Checks of lesson 07: heads in three families, a stopwatch, a staircase of rates, a data config, a fair board."""

from __future__ import annotations

import numbers

import torch
from PIL import Image
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms import v2

from . import attempted, exercise, require

_EMPTY = "the function returns nothing yet: fill it in and run the cell again"
_WHOLE = "Resize wants a whole number of pixels: int(...) rounds down"
_OLD, _NEW = 7, 4  # classes of the small networks before and after


def _three_networks() -> dict[str, nn.Module]:
    from ..backbones import vgg9_bn

    vit = VisionTransformer(
        image_size=32, patch_size=16, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=_OLD
    )
    return {
        "resnet": ResNet(BasicBlock, [1, 1, 1, 1], num_classes=_OLD),
        "vgg": vgg9_bn(num_classes=_OLD),
        "vit": vit,
    }


@exercise("07.1", expects="a function of resnet, vgg, vit and classes")
def check_by_hand(by_hand):
    attempted(by_hand)
    require(callable(by_hand), "give the function itself, by_hand, not what it returns")
    networks = _three_networks()
    before = {name: dict(network.named_modules()) for name, network in networks.items()}
    by_hand(networks["resnet"], networks["vgg"], networks["vit"], _NEW)
    places = {"resnet": "resnet.fc", "vgg": "vgg.classifier[6]", "vit": "vit.heads.head"}
    for name, network in networks.items():
        linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
        require(
            all(layer.weight.shape[0] == layer.out_features for layer in linear),
            f"in {name} the number was changed, the weights were not: put a new nn.Linear at {places[name]}",
        )
    untouched = [dict(networks[name].named_modules()) == before[name] for name in ("vgg", "vit")]
    attempted(... if all(untouched) else 1, todo="vgg and vit still have their old heads: fill in the two lines")
    classifier = networks["vgg"].classifier
    entries = len(classifier) if isinstance(classifier, nn.Sequential) else 1
    require(
        entries >= 7,
        "vgg.classifier is gone as a whole, and its hidden layers with it: replace only its last layer, classifier[6]",
    )
    require(
        entries == 7,
        f"vgg.classifier has {entries} entries now, so there is a second layer behind the old head: "
        "put the new one in its place, at classifier[6]",
    )
    for name, network in networks.items():
        try:
            with torch.no_grad():
                scores = network.eval()(torch.zeros(2, 3, 32, 32))
        except RuntimeError:
            require(False, f"{name} cannot run any more: ask the old layer {places[name]} for its in_features")
        require(
            scores.shape[1] != _OLD,
            f"{name} still gives {_OLD} scores: a layer under another name is never called, put it at {places[name]}",
        )
        require(scores.shape[1] == _NEW, f"{name} gives {scores.shape[1]} scores for {_NEW} classes")
    return "three names, one move: ask the old layer for in_features and put the new one in its place"


class _Slow(nn.Module):
    """Takes nine seconds for its first pass and one for each later one, by a clock of its own, and keeps notes."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.notes = 0.0, []  # notes: (training, gradients on) of each pass

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.now += 1.0 if self.notes else 9.0
        self.notes.append((self.training, torch.is_grad_enabled()))
        return images.mean(dim=(2, 3))

    def clock(self) -> float:
        return self.now


@exercise("07.2", expects="a function of network, images and clock")
def check_speed(speed):
    attempted(speed)
    require(callable(speed), "give the function itself, speed, not what it returns")
    network, images = _Slow(), torch.zeros(4, 3, 2, 2)
    found = speed(network, images, network.clock)
    attempted(found, todo=_EMPTY)
    found = float(found)
    require(len(network.notes) > 1, "one pass alone is the slow first one: warm up, then measure some more")
    training, gradients = network.notes[-1]
    require(not training, "the network is in training mode: a prediction is made after network.eval()")
    require(not gradients, "PyTorch takes notes for gradients that no prediction needs: with torch.no_grad()")
    passes = len(network.notes)  # of 4 images each; together they take passes + 8 seconds

    def gives(images_counted, seconds):
        return abs(found - images_counted / seconds) < 1e-6

    require(not gives(1, 1), "these are batches a second: each pass handles len(images) images, so multiply by that")
    require(
        not any(gives(k * n, passes + 8) for k in (passes, passes - 1) for n in (1, 4)),
        "the first pass is in the measurement, and it sets up memory: one pass before start = clock()",
    )
    require(
        not any(gives(n, passes - 1) for n in (1, 4)),
        "the images of one pass, over the time of all: multiply by the number of passes, 5 * len(images)",
    )
    require(gives(4, 1), f"it gives {found:.2f} images a second, right is 4.00 for 4 images in 1 second a pass")
    return "warmed up, in evaluation mode, without gradients, and images are counted, not batches"


@exercise("07.3", expects="a function of optimizer and epochs that returns a scheduler")
def check_stairs(stairs):
    attempted(stairs)
    require(callable(stairs), "give the function itself, stairs, not what it returns")
    for epochs in (8, 20, 10):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        try:
            schedule = stairs(optimizer, epochs)
        except TypeError as error:
            attempted(... if "ellipsis" in str(error).lower() else 1)
            raise
        attempted(schedule, todo=_EMPTY)
        require(hasattr(schedule, "step"), f"return the scheduler, not a {type(schedule).__name__}")
        attempted(*getattr(schedule, "milestones", ()), getattr(schedule, "gamma", 0))
        rates = []
        for _ in range(epochs):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        shown = " ".join(f"{rate:g}" for rate in rates)
        if epochs == 10:  # half and three quarters of it are not both whole: only where it ends is asked
            require(
                abs(rates[-1] - 0.01) < 1e-9,
                f"with 10 epochs the rates are {shown}: no epoch has the number 7.5, // gives whole numbers",
            )
            continue
        wanted = [1.0] * (epochs // 2) + [0.1] * (epochs // 4) + [0.01] * (epochs // 4)
        require(max(rates) <= 1.0, "the rate goes up the stairs: gamma is what it is multiplied by, so 0.1")
        require(rates[-1] < 1.0, f"the rate never changes: milestones are epochs, whole numbers up to {epochs}")
        require(
            abs(rates[-1] - 0.01) < 1e-9,
            f"with {epochs} epochs the rates are {shown}: the last should be a hundredth, after two steps by 0.1",
        )
        require(
            all(abs(a - b) < 1e-9 for a, b in zip(rates, wanted, strict=True)),
            f"with {epochs} epochs the rates are {shown}: half of them at 1, a quarter at 0.1, a quarter at 0.01",
        )
    return "half of the epochs large steps, then two stairs down to settle"


@exercise("07.4", expects="a function of a data config that returns a transform")
def check_from_config(from_config):
    attempted(from_config)
    require(callable(from_config), "give the function itself, from_config, not what it returns")
    config = {"input_size": (3, 60, 60), "interpolation": "bilinear", "crop_pct": 0.875}
    config |= {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}
    try:
        transform = from_config(dict(config))
    except (TypeError, ValueError) as error:  # Resize refuses the blank itself
        attempted(... if "ellipsis" in str(error).lower() else 1)
        require("size " not in str(error).lower(), _WHOLE)
        raise
    attempted(transform, todo=_EMPTY)
    require(callable(transform), f"return the transform, not a {type(transform).__name__}")
    steps = list(getattr(transform, "transforms", []))
    attempted(*steps)
    resizes = [step for step in steps if type(step).__name__ == "Resize"]  # of v2, or of the older v1
    require(resizes, "there is no Resize: the picture must become smaller before its middle is cut out, by v2.Resize")
    size = resizes[0].size
    shorter_side = list(size) if isinstance(size, list | tuple) else [size]
    attempted(*shorter_side)
    require(not any(isinstance(side, float) for side in shorter_side), _WHOLE)
    require(len(shorter_side) == 1, "two numbers would squash the picture: Resize takes the shorter side alone")
    require(shorter_side != [60], "crop_pct is not used: the shorter side is larger than the crop, 60 / 0.875 = 68")
    require(shorter_side[0] > 60, "the picture would be smaller than the crop: divide by crop_pct, do not multiply")
    require(shorter_side == [68], f"the shorter side becomes {shorter_side[0]}: 60 / 0.875 = 68.57, rounded down 68")
    columns = torch.arange(0, 200, dtype=torch.uint8).repeat(120, 1)  # a smooth picture: how it is resized hardly shows
    picture = Image.fromarray(torch.stack([columns, columns // 2, 255 - columns], dim=2).numpy())
    try:
        tensor = transform(picture)
    except TypeError as error:  # Normalize refuses a picture
        require("pil" not in str(error).lower(), "Normalize needs a tensor: to_tensor comes before it")
        raise
    require(torch.is_tensor(tensor) and tuple(tensor.shape) == (3, 60, 60), "the result must be a tensor 3 x 60 x 60")
    bare = v2.Compose([v2.Resize(68), v2.CenterCrop(60), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])(picture)
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))

    def is_like(expected):  # resizing the tensor, or by another interpolation, is as right as resizing the picture
        return torch.allclose(tensor.float(), expected, atol=0.05)

    right = (bare - mean) / std
    imagenet = v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(bare)
    require(is_like(right) or not is_like(bare), "the numbers are not normalised yet")
    require(is_like(right) or not is_like(imagenet), "these are ImageNet's numbers: take those of the config")
    require(is_like(right) or not is_like((bare - std) / mean), "mean and std have changed places")
    require(is_like(right), "the numbers differ: cut out the middle, normalise by mean and std of the config")
    return "size, crop and statistics come from the config, so the next model brings its own"


@exercise("07.5", expects="a function of backbones, accuracy and seeds")
def check_board(board):
    attempted(board)
    require(callable(board), "give the function itself, board, not what it returns")
    asked: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    figures = {"a": [0.5, 0.6, 0.7], "b": [0.4, 0.4, 0.9], "c": [0.55, 0.65, 0.75]}

    def accuracy(name, seed):
        asked[name].append(seed)
        return figures[name][seed % 3]

    table = board(["a", "b", "c"], accuracy, [0, 1, 2])
    attempted(table, todo=_EMPTY)
    require(isinstance(table, dict) and set(table) == {"a", "b", "c"}, "return a dictionary {backbone: mean accuracy}")
    require(all(asked.values()), "some backbones are never asked: call accuracy(name, seed) for each of them")
    lists = [sorted(set(seeds)) for seeds in asked.values()]
    require(
        lists[0] == [0, 1, 2] or any(other != lists[0] for other in lists),
        f"every backbone is judged with the seeds {lists[0]}, given were [0, 1, 2]: use all the seeds you were given",
    )
    require(
        all(seeds == [0, 1, 2] for seeds in lists),
        f"the backbones are judged on different splits (seeds {asked['a']}, {asked['b']}, {asked['c']}): "
        "the same seeds for everybody",
    )
    require(
        all(isinstance(value, numbers.Real) or getattr(value, "shape", None) == () for value in table.values()),
        "the table should hold one number per backbone, their mean: sum(...) / len(seeds)",
    )
    require(
        any(abs(table[name] - max(values)) > 1e-6 for name, values in figures.items()),
        "the best seed is kept, so the luckiest backbone wins, and more seeds mean more luck: take the mean",
    )
    for name, values in figures.items():
        mean = sum(values) / 3
        require(
            abs(table[name] - mean) < 1e-6,
            f"for accuracies of {', '.join(map(str, values))} it gives {table[name]:.4g}: their mean is {mean:.4g}",
        )
    return "the same splits for everybody, and the mean: luck is shared and averaged"
