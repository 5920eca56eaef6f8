"""Checks of lesson 03: normalisation, the forgotten stem, a rate too high, OneCycle's length, modes, frozen weights."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import nn

from ..models import stages
from ..transforms import normalization_of
from . import attempted, exercise, require


def _image_of(dataset) -> torch.Tensor:
    sample = dataset[0]
    image = sample[0] if isinstance(sample, (tuple, list)) else sample
    require(
        isinstance(image, torch.Tensor),
        f"the first image is a {type(image).__name__}, not a tensor: the transform must end in a float tensor",
    )
    return image


@exercise("03.1", expects="your dataset and a dataset with weights.transforms(), in this order")
def check_normalised(mine, reference):
    attempted(mine)
    image, wanted = _image_of(mine), _image_of(reference)
    require(
        image.is_floating_point() and not (image.max() > 20 and image.min() >= 0),
        "the pixels still run from 0 to 255: scale=True belongs to v2.ToDtype(torch.float32, scale=True)",
    )
    found, right = (normalization_of(getattr(dataset, "transform", None)) for dataset in (mine, reference))
    require(
        found is not None or image.min() < 0 or image.max() > 1,
        f"normalisation missing: the pixels lie between {image.min():.1f} and {image.max():.1f}, where the pretrained "
        f"network expects {wanted.min():.1f} to {wanted.max():.1f}. Nothing complains, the features are just wrong",
    )
    close = partial(math.isclose, abs_tol=2e-3)
    require(
        not found or not right or all(map(close, found[0] + found[1], right[0] + right[1])),
        f"it normalises with {found}, but this network was trained with mean and std {right}: ask its weights",
    )
    require(image.shape == wanted.shape, f"the image is {tuple(image.shape)}, the network wants {tuple(wanted.shape)}")
    require(
        torch.allclose(image.mean(), wanted.mean(), atol=0.3) and torch.allclose(image.std(), wanted.std(), atol=0.3),
        f"the pixels have the mean {image.mean():.2f} and the spread {image.std():.2f}, those of the weights' own "
        f"transform {wanted.mean():.2f} and {wanted.std():.2f}: is it normalised twice, or not at all?",
    )
    return "mean and spread are what the network saw while it was pretrained, so its features mean what they meant"


def _optimizer(groups) -> torch.optim.Optimizer:
    pairs = isinstance(groups, list) and all({"params", "lr"} <= set(group) for group in groups)
    require(pairs, "give a list of dictionaries, each with 'params' and 'lr', a rate of its own")
    kept = [{**group, "params": list(group["params"])} for group in groups]
    flat = all(torch.is_tensor(p) for group in kept for p in group["params"])
    require(flat, "'params' must be one flat list of tensors: [*model.conv1.parameters(), *model.bn1.parameters()]")
    twice = [id(p) for group in kept for p in group["params"]]
    require(len(twice) == len(set(twice)), "a parameter is in two groups, so it would be moved twice: hold each once")
    return torch.optim.SGD(kept, lr=1.0)


@exercise("03.2", expects="the network and your list of parameter groups, in this order")
def check_groups(model, groups):
    # an optimizer that was given such a dictionary adds its defaults to it, and some are None: not a blank
    attempted(groups if groups is ... else [group.get(key, 0) for group in groups for key in ("params", "lr")])
    optimizer = _optimizer(groups)
    rate_of = {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
    parts = [part for part in stages(model) if any(True for _ in part.parameters())]
    rates = []
    for part in parts:
        held = [rate_of[id(p)] for p in part.parameters() if id(p) in rate_of]
        total = sum(1 for _ in part.parameters())
        require(held, f"{part.name} is in no group: it asks for gradients, gets them, and nobody uses them")
        require(
            len(held) == total,
            f"only {len(held)} of the {total} tensors of {part.name} are in a group: its BatchNorm has a weight and a "
            "bias too",
        )
        require(len(set(held)) == 1, f"{part.name} has {len(set(held))} different rates: one per stage")
        rates.append(held[0])
    require(
        rates == sorted(rates),
        f"the rates from {parts[0].name} to {parts[-1].name} are {[f'{rate:g}' for rate in rates]}: a stage nearer to "
        "the image should never be faster than the one after it",
    )
    require(rates[0] < rates[-1], "all stages have the same rate: the point is that the early ones move less")
    return f"all {len(rate_of)} tensors are held once, and no stage is faster than the one after it"


@exercise("03.3", expects="the network and its optimiser, in this order")
def check_rate(model, optimizer):
    attempted(optimizer)
    ceiling, floor = (0.1, 1e-5) if isinstance(optimizer, torch.optim.SGD) else (3e-3, 1e-6)
    name = type(optimizer).__name__
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    require(not missing, f"{missing[:1]} would not be trained any more: lower the rate, but keep every parameter")
    for number, group in enumerate(optimizer.param_groups):
        rate, who = float(group["lr"]), group.get("name", f"group {number}")
        own = (
            "" if len(optimizer.param_groups) == 1 else " A group's own 'lr' wins over the one given to the optimiser."
        )
        require(
            rate <= ceiling,
            f"rate too high: {who} learns at {rate:g}, with {name} anything above {ceiling:g} wrecks pretrained "
            f"weights.{own}",
        )
        require(
            rate >= floor,
            f"{who} learns at {rate:g}: that is so low that nothing will move in a few epochs. To keep a part still, "
            "freeze it",
        )
    highest = max(float(group["lr"]) for group in optimizer.param_groups)
    return f"the highest rate is {highest:g}, so pretrained weights are adjusted and not overwritten"


@exercise("03.4", expects="a function that takes the number of images, the batch size and the number of epochs")
def check_total_steps(total_steps):
    attempted(total_steps)
    require(callable(total_steps), "give the function itself, total_steps, not what it returns")
    cases = [(100, 10, 3), (105, 10, 3), (7, 32, 5), (1020, 64, 4)]
    got = [total_steps(*case) for case in cases]
    attempted(*got, todo="the function returns nothing yet: fill it in and run the cell again")
    right = [epochs * math.ceil(images / size) for images, size, epochs in cases]
    require(got != [epochs for _, _, epochs in cases], "that counts epochs: the schedule is stepped per batch")
    require(
        got != [math.ceil(images / size) for images, size, _ in cases],
        "that is one epoch: the schedule would be over after the first, and the next step an error",
    )
    require(
        got != [epochs * (images // size) for images, size, epochs in cases],
        "the short last batch is a step too: round up, not down",
    )
    require(
        got != [math.ceil(epochs * images / size) for images, size, epochs in cases],
        "round up within each epoch: a batch never holds images of two epochs",
    )
    wrong = next((i for i in range(len(cases)) if got[i] != right[i]), None)
    require(
        wrong is None,
        f"for images, batch size, epochs = {cases[wrong or 0]} it gives {got[wrong or 0]}: that should be "
        f"{right[wrong or 0]}",
    )
    kind = type(got[0]).__name__
    require(kind == "int", f"the number is right, but it is a {kind}: OneCycleLR wants a whole number, an int")
    return "batches per epoch, rounded up, times epochs: len(loader) * epochs says the same"


class _Watched(nn.Module):
    """A frozen body with BatchNorm and a head with dropout; remembers the modes it was run in."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).requires_grad_(False)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))
        self.seen: list[tuple[bool, bool, bool]] = []  # (with gradient, body in train mode, head in train mode)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.seen.append((torch.is_grad_enabled(), self.body[1].training, self.head[0].training))
        return self.head(self.body(rows))


@exercise("03.5", expects="a function that takes model, train_batches, val_batches, optimizer and epochs")
def check_modes(train_and_validate):
    attempted(train_and_validate)
    require(callable(train_and_validate), "give the function itself, train_and_validate, not what it returns")
    torch.manual_seed(0)
    batch, epochs = (torch.randn(6, 4), torch.tensor([0, 1] * 3)), 3
    model = _Watched().eval()  # as an evaluation before the call would leave it
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    result = train_and_validate(model, [batch, batch], [batch], optimizer, epochs)
    training = [(body, head) for gradient, body, head in model.seen if gradient]
    watching = [(body, head) for gradient, body, head in model.seen if not gradient]
    require(
        len(training) == 2 * epochs,
        f"{len(training)} training steps instead of {2 * epochs}: each epoch goes over all training batches; validate "
        "under torch.no_grad()",
    )
    require(
        all(head for _, head in training[:2]),
        "the network trains in eval mode from the start: its dropout is off, so call tl.train_mode(model) first",
    )
    require(
        all(head for _, head in training),
        "from the second epoch on it trains in eval mode: validation switched to eval, and nobody switched back. "
        "Dropout is off and BatchNorm stands still, and no error says so",
    )
    require(
        watching and not any(head for _, head in watching),
        "validation is missing or runs in train mode, where its result depends on dice: call model.eval() before it",
    )
    drifted = any(not torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
    require(
        not drifted and not any(body for body, _ in training),
        "plain model.train() wakes the frozen body as well, and its BatchNorm drifts: use tl.train_mode(model)",
    )
    require(isinstance(result, list) and len(result) == epochs, f"return a list of {epochs} validation accuracies")
    return "train mode at the start of each epoch, eval mode for validation, and the frozen body always in eval mode"


def _movement(freeze_now, optimizer_class, options) -> tuple[float, float, bool]:
    """Train a little, freeze the body, train on with gradients set to zero; how far did body and head move?"""
    torch.manual_seed(0)
    body, head = nn.Linear(4, 4), nn.Linear(4, 2)
    optimizer = optimizer_class([*body.parameters(), *head.parameters()], lr=0.1, **options)
    rows, labels = torch.randn(8, 4), torch.tensor([0, 1] * 4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)  # as older loops do: zeros stay behind, and momentum acts
        loss = nn.functional.cross_entropy(head(body(rows)), labels)
        if loss.requires_grad:
            loss.backward()
        optimizer.step()

    step(), step()
    freeze_now(body, optimizer)
    before = [[p.detach().clone() for p in part.parameters()] for part in (body, head)]
    for _ in range(3):
        step()
    far = [
        max(float((p.detach() - old).abs().max()) for p, old in zip(part.parameters(), olds, strict=True))
        for part, olds in zip((body, head), before, strict=True)
    ]
    return far[0], far[1], any(p.requires_grad for p in body.parameters())


@exercise("03.6", expects="a function that takes a layer and the optimiser that holds it")
def check_freeze_now(freeze_now):
    attempted(freeze_now)
    require(callable(freeze_now), "give the function itself, freeze_now, not what it returns")
    settings = [
        (torch.optim.SGD, {"momentum": 0.9}, "momentum"),
        (torch.optim.SGD, {"weight_decay": 0.1}, "weight decay"),
        (torch.optim.AdamW, {"weight_decay": 0.1}, "AdamW's averages and weight decay"),
    ]
    for kind, options, force in settings:
        body, head, asks = _movement(freeze_now, kind, options)
        require(not asks, "the layer still asks for gradients: set requires_grad to False for each of its parameters")
        require(
            body == 0,
            f"the frozen layer still moves, by up to {body:.2g} in three steps: a gradient from before the freezing is "
            f"left over, zeros count too, and {force} acts on it. Set parameter.grad = None",
        )
        require(head > 0, "now the head stands still as well: freeze only the layer that is given")
    return "no gradient left, so neither momentum nor weight decay can move it: it is frozen even inside the optimiser"
