"""What one image costs a network: multiply-accumulates, counted, and time, measured on this computer."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from .freezing import preserved_modes, preserved_random_state
from .models import device_of
from .session import CourseError


def count_macs(model: nn.Module, size: int = 224) -> int:
    """Count the multiply-accumulates of one image of `size` x `size` pixels: one for each weight, each time it is used.

    In attention the products of tokens with tokens count as well. PyTorch's counter gives floating-point operations,
    two to a MAC. Layers without a matrix or a filter (norm, activation, pooling) count nothing, as in the "GFLOPS" of
    torchvision's tables, which are billions of MACs. The model's mode and random numbers stay as they are.

    >>> count_macs(nn.Sequential(nn.Conv2d(3, 8, kernel_size=3, padding=1)), size=10)  # 10 * 10 * 8 * 3 * 3 * 3
    21600
    """
    from torch.utils.flop_counter import FlopCounterMode

    image = torch.zeros(1, 3, size, size, device=device_of(model))
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a short cut through attention that the counter does not see
    try:
        with (
            preserved_modes(model),
            preserved_random_state(),
            torch.no_grad(),
            FlopCounterMode(display=False) as counter,
        ):
            model.eval()
            model(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() // 2


def images_per_second(
    model: nn.Module,
    images: Tensor,
    backward: bool = False,
    seconds: float = 0.3,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Time the model on one batch N x 3 x H x W, again and again until `seconds` have passed; return images a second.

    Forward alone is timed in eval mode without gradients, `backward=True` in training mode with the gradients of all
    weights that train (no optimizer step). One pass runs before, unmeasured: the first one sets up memory. The fastest
    pass counts, as in Python's `timeit`: other programs only make passes slower. The images go to the model's device.
    Modes, BatchNorm statistics, gradients and random numbers are as before afterwards.

    >>> ticks = iter(range(100))  # a clock that says one second has passed each time it is read
    >>> images_per_second(nn.Flatten(), torch.zeros(4, 3, 2, 2), clock=lambda: next(ticks))
    4.0
    """
    if images.ndim != 4 or len(images) == 0:
        raise CourseError(f"images_per_second needs a batch N x 3 x H x W, not the shape {tuple(images.shape)}.")
    if backward and not any(parameter.requires_grad for parameter in model.parameters()):
        raise CourseError("images_per_second: nothing in this model trains, so there is no backward pass: unfreeze it.")
    images = images.to(device_of(model))
    with _left_as_found(model), preserved_random_state(), torch.set_grad_enabled(backward):
        model.train(backward)
        _one_pass(model, images, backward)
        ends = [clock()]
        while len(ends) == 1 or ends[-1] - ends[0] < seconds:
            _one_pass(model, images, backward)
            ends.append(clock())
    fastest = min(end - start for start, end in itertools.pairwise(ends))
    return len(images) / max(fastest, 1e-9)


@contextlib.contextmanager
def _left_as_found(model: nn.Module) -> Iterator[None]:
    """Put modes, buffers and gradients back, also when the block is interrupted or runs out of memory."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    gradients = [parameter.grad for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = None
    # each gradient is dropped as soon as it is there: all of them together need as much memory as the weights
    training = [parameter for parameter in model.parameters() if parameter.requires_grad]
    hooks = [parameter.register_post_accumulate_grad_hook(_drop_gradient) for parameter in training]
    try:
        with preserved_modes(model):
            yield
    finally:
        for hook in hooks:
            hook.remove()
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient


def _one_pass(model: nn.Module, images: Tensor, backward: bool) -> None:
    scores = model(images)
    if backward:
        scores.square().mean().backward()
    if images.device.type in ("cuda", "mps"):
        getattr(torch, images.device.type).synchronize()  # a GPU answers before it has finished


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None
