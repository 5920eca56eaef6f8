"""Checks of lesson 06: choosing the epoch, mean per class, sample size, titles, Grad-CAM when frozen, own photos."""

from __future__ import annotations

import math

import torch
from torch import nn

from . import attempted, exercise, require

_EMPTY = "the function returns nothing yet: fill it in and run the cell again"


@exercise("06.1", expects="a function of two lists, validation and test accuracies, that returns (epoch, figure)")
def check_report(report):
    attempted(report)
    require(callable(report), "give the function itself, report, not what it returns")
    val, test = [0.50, 0.70, 0.60, 0.65], [0.80, 0.62, 0.61, 0.90]  # epochs 1 to 4
    given = report(list(val), list(test))
    attempted(given, todo=_EMPTY)
    require(
        isinstance(given, (tuple, list)) and len(given) == 2,
        "return two things: the number of the epoch and the figure to report",
    )
    epoch, figure = int(given[0]), float(given[1])
    require(
        epoch != 4,
        "that is the epoch with the best TEST accuracy, so the test part has chosen: choose by validation",
    )
    require(epoch != 1, "epoch 1 of the example is counted from 0, or is the worst: count from 1, choose by validation")
    require(epoch == 2, f"it chooses epoch {epoch}: validation is best in epoch 2 of {val}, counted from 1")
    require(
        abs(figure - 0.70) > 1e-6,
        "the epoch is right, but the figure is its validation accuracy, which was picked because it is high: report "
        "the test accuracy of that epoch",
    )
    require(
        abs(figure - 0.90) > 1e-6,
        "the epoch is right, but the figure is the best test accuracy of any epoch: report the one of the chosen epoch",
    )
    require(abs(figure - 0.62) < 1e-6, f"it reports {figure:g}: the test accuracy of the chosen epoch is 0.62")
    return "validation chooses the epoch, and the test part only says how good that choice is"


@exercise("06.2", expects="a function of labels and predicted classes, two tensors of whole numbers")
def check_mean_per_class(mean_per_class):
    attempted(mean_per_class)
    require(callable(mean_per_class), "give the function itself, mean_per_class, not what it returns")
    # class 0: 6 of 8 right, class 2: 1 of 4, class 5: 2 of 2; classes 1, 3, 4 do not occur, one guess is a 3
    labels = torch.tensor([0] * 8 + [2] * 4 + [5] * 2)
    predicted = torch.tensor([0, 0, 0, 0, 0, 0, 2, 5] + [2, 0, 0, 3] + [5, 5])
    given = mean_per_class(labels.clone(), predicted.clone())
    attempted(given, todo=_EMPTY)
    value, right = float(given), (6 / 8 + 1 / 4 + 2 / 2) / 3
    require(
        value == value,
        "the answer is nan: a class that does not occur has no images to take a mean of; loop over labels.unique()",
    )
    require(
        abs(value - 9 / 14) > 1e-6,
        "that is top-1: right answers over all images. Take the accuracy of each class first, then their mean",
    )
    require(
        abs(value - 2 / 6) > 1e-6 and abs(value - 2 / 102) > 1e-6,
        "that divides by classes that do not occur among the labels: loop over labels.unique()",
    )
    precision = (6 / 8 + 1 / 2 + 0 / 1 + 2 / 3) / 4
    require(
        abs(value - precision) > 1e-6 and abs(value - (6 / 8 + 1 / 2 + 2 / 3) / 3) > 1e-6,
        "the images are grouped by what was predicted: group them by their true class, labels == c",
    )
    require(abs(value - 100 * right) > 1e-3, "that is in per cent: return a share between 0 and 1")
    require(abs(value - right) < 1e-6, f"it gives {value:.4f}; the classes have 6/8, 1/4 and 2/2, mean {right:.4f}")
    return "each class counts the same now, however many images it has"


@exercise("06.3", expects="a function of an accuracy and a half width, both in 0..1, that returns a whole number")
def check_images_needed(images_needed):
    attempted(images_needed)
    require(callable(images_needed), "give the function itself, images_needed, not what it returns")
    accuracy, half = 0.9, 0.01
    given = images_needed(accuracy, half)
    attempted(given, todo=_EMPTY)
    value, spread = float(given), accuracy * (1 - accuracy)
    right = 1.96**2 * spread / half**2  # 3457.4
    mistakes = {
        spread / half**2: "the factor 1.96 is missing: that makes an interval of 68 %, not 95 %",
        1.96 * spread / half**2: "1.96 stands outside the square: half = 1.96 * sqrt(...), so square both sides",
        1.96**2 * spread / half: "the half width is not squared: half the width needs four times the images",
        1.96**2 * spread / (half / 2) ** 2: "half_width is already half of the interval: do not halve it again",
        1.96 * math.sqrt(spread) / half: "that is the root of the number: square it",
        1.96**2 * accuracy / half**2: "the spread of right and wrong is accuracy * (1 - accuracy)",
    }
    for wrong, mistake in mistakes.items():
        require(abs(value - wrong) > 1.5, mistake)
    require(
        abs(value - right) < 1.5,
        f"for 90 % ± 1 point it gives {value:g}: solve half = 1.96 * sqrt(p * (1 - p) / n) for n",
    )
    require(abs(float(images_needed(0.5, 0.05)) - 384.16) < 1.5, "for 50 % ± 5 points it should be about 385 images")
    require(value == int(value), f"{value:.2f} images cannot be taken: round up with math.ceil")
    return "for 90 % ± 1 point a test part needs about 3,460 images, and half the width needs four times as many"


@exercise("06.4", expects="a function of a predicted class number, a true class number and the class names")
def check_title(title):
    attempted(title)
    require(callable(title), "give the function itself, title, not what it returns")
    names = ["rose", "tulip", "daisy"]
    given = title(2, 0, names)
    attempted(given, todo=_EMPTY)
    require(isinstance(given, str), f"it returns a {type(given).__name__}: return one string")
    text = given.lower()
    require(
        "predicted" in text and "true" in text and "daisy" in text and "rose" in text,
        f"{given!r} must name both classes and say which is predicted and which is true",
    )
    parts = sorted([(text.index("predicted"), "p"), (text.index("true"), "t")])
    first, second = text[: parts[1][0]], text[parts[1][0] :]
    under = {parts[0][1]: first, parts[1][1]: second}
    require(
        not ("rose" in under["p"] and "daisy" in under["t"]),
        "the names are swapped: the network said daisy (2) to a rose (0), but the title says it the other way round",
    )
    require("daisy" in under["p"] and "rose" in under["t"], f"{given!r}: put each name behind its own word")
    require("tulip" not in text, f"{given!r} names a class nobody asked about")
    return "the title says what the network said and what is true, and no reader has to guess"


def _frozen_network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(24, 5),
    )  # fmt: skip
    return net.eval().requires_grad_(False)


@exercise("06.5", expects="a function of a model, one of its modules, a batch of images and a class number")
def check_gradient_at(gradient_at):
    attempted(gradient_at)
    require(callable(gradient_at), "give the function itself, gradient_at, not what it returns")
    net, images = _frozen_network(), torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    try:
        given = gradient_at(net, net[1], images.clone(), 3)
    except RuntimeError as error:
        text = str(error)
        require(
            "in-place" not in text and "inplace" not in text,
            "the ReLU behind the hook writes into the very tensor you keep: hand the network a .clone() of it",
        )
        require(
            "require grad" not in text and "requires grad" not in text and "does not have a grad_fn" not in text,
            "on a frozen network the kept maps ask for no gradient, so there is none: let the hook keep a detached "
            "copy that asks for one, output.detach().requires_grad_()",
        )
        require(
            "not have been used" not in text,
            "the scores do not depend on what you keep: the hook must return it (or its clone), so that the network "
            "goes on from there",
        )
        raise
    attempted(given, todo=_EMPTY)
    require(torch.is_tensor(given), f"it returns a {type(given).__name__}: return the gradient, a tensor")
    require(
        not any(p.requires_grad for p in net.parameters()),
        "the map is there, but the network is not frozen any more: nobody asked for that, and the next training would "
        "move all of it. Let the kept maps ask for the gradient instead",
    )
    hooks = sum(len(module._forward_hooks) for module in net.modules())
    require(not hooks, "the hook is still in the network and will run in every later forward: handle.remove()")
    with torch.no_grad():
        maps = net[:2](images)
    maps.requires_grad_()
    expected = torch.autograd.grad(net[2:](maps.clone())[:, 3].sum(), maps)[0]
    require(
        given.shape == expected.shape,
        f"the gradient has the shape {tuple(given.shape)}, the maps have {tuple(expected.shape)}: it should be the "
        "gradient at the output of the module",
    )
    require(torch.allclose(given, expected, atol=1e-5), "the numbers differ from the gradient of that class's score")
    return "the kept maps ask for a gradient by themselves, so a frozen network can be explained, and stays frozen"


class _TwoMoods(nn.Module):
    """Scores that sigmoid and softmax turn into different numbers; dropout gives train mode away."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.drop(torch.tensor([[2.0, 1.0, 0.5, -1.0]]).expand(len(images), 4)) + 0 * images.mean()


@exercise("06.6", expects="a function of a model, a photo and a transform that returns one probability per class")
def check_ask(ask):
    attempted(ask)
    require(callable(ask), "give the function itself, ask, not what it returns")
    torch.manual_seed(0)
    model, expected = _TwoMoods(), torch.tensor([2.0, 1.0, 0.5, -1.0]).softmax(0)
    answers = []
    for _ in range(20):
        model.train()  # as a training epoch would leave it
        answers.append(ask(model, torch.rand(3, 8, 8), lambda photo: photo))
    attempted(*answers, todo=_EMPTY)
    require(all(torch.is_tensor(answer) for answer in answers), "return the tensor of probabilities")
    steady = all(torch.equal(answers[0], answer) for answer in answers)
    require(steady, "twenty times the same photo, and different answers: the model is in train mode, call eval()")
    answer = answers[0].detach().flatten()
    require(len(answer) == 4, f"it returns {len(answer)} numbers for a model of 4 classes: return all probabilities")
    require(
        not torch.allclose(answer, torch.tensor([2.0, 1.0, 0.5, -1.0])),
        "these are the raw scores: softmax turns them into probabilities",
    )
    require(
        not torch.allclose(answer, torch.tensor([2.0, 1.0, 0.5, -1.0]).sigmoid(), atol=1e-5),
        f"the four numbers add up to {answer.sum().item():.2f}: sigmoid asks each class alone, and the network was "
        "trained to share one probability among all classes. Use softmax",
    )
    require(
        not torch.allclose(answer, torch.ones(4)),
        "every class gets 100 %: the softmax runs over the one image (dim=0) and not over the classes (dim=1)",
    )
    require(torch.allclose(answer, expected, atol=1e-5), "the probabilities are not softmax of the model's scores")
    return "eval mode and softmax over the classes: one answer per photo, and its probabilities add up to one"
