"""What a training step costs when training starts at a given stage: parameters, memory and time, really measured.

All of it happens on a copy of the network, so the one in your hands stays as it is.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..evaluation import to_device
from ..explain import _network
from ..freezing import count_parameters, train_mode, trainable_parameters
from ..gradual import unfreeze_from
from ..models import Stage, device_of, unwrap
from ..session import CourseError, random_state_kept

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class StepCost:
    """One training step with everything from the stage `start` on learning. Bytes and seconds.

    >>> StepCost("head", {"head": 8}, ("head",), (), 300, 32, 64, 0.002, None).bytes
    396
    """

    start: str  # the first stage that trains
    trainable: dict[str, int]  # numbers that learn, by stage
    moving: tuple[str, ...]  # stages whose BatchNorm statistics moved during the step, after tl.train_mode
    drifting: tuple[str, ...]  # frozen stages whose statistics move as well after a plain model.train()
    kept: int  # bytes kept from the forward pass for the backward pass, without weights and the batch itself
    gradients: int  # bytes
    state: int  # bytes the optimizer remembers from step to step
    seconds: float  # the quickest of a few steps: what else the computer does only makes them slower
    peak: int | None  # CUDA only: most bytes in use during a step, on top of weights and batch

    @property
    def bytes(self) -> int:
        """What the step needs besides the weights and the batch."""
        return self.kept + self.gradients + self.state


def step_costs(
    model: nn.Module, images: Tensor, make_optimizer: MakeOptimizer | None = None, seconds: float = 2.0
) -> list[StepCost]:
    """Measure a training step for every place where training can start, from the head back to the first stage.

    `images` is a normalised batch (N, 3, H, W). `make_optimizer` gets the parameters that train; default: AdamW.
    Each place gets one step that counts the bytes and at least one timed one; about so many `seconds` are shared out
    for more, and the quickest counts. A busy computer still makes it differ from run to run. Model and random states
    stay as they are; on CUDA the device's own record of its peak memory begins anew. Raises `CourseError` for a
    network `stages` does not know and for images that do not go through it. (torch.autograd.graph.saved_tensors_hooks)

    >>> from torchvision import models
    >>> costs = step_costs(models.get_model("resnet10"), torch.zeros(2, 3, 32, 32), seconds=0)
    >>> [(cost.start, sum(cost.trainable.values())) for cost in costs[:2]]
    [('head', 513000), ('layer4', 4186088)]
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) < 2 or not images.is_floating_point():
        given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise CourseError(f"images must be a normalised batch (N, 3, H, W) of at least 2 images, not {given}.")
    _network(unwrap(model))  # an unknown network is refused before anything is copied
    with random_state_kept(), torch.inference_mode(False), torch.enable_grad():
        twin = copy.deepcopy(unwrap(model))
        network, parts = _network(twin)
        batch = to_device(images.detach().clone(), device_of(twin))
        try:
            outputs = twin.eval()(batch).shape[1]
        except (RuntimeError, ValueError) as error:
            raise CourseError(
                f"A batch of shape {tuple(batch.shape)} does not go through this model: {error}"
            ) from error
        labels = torch.arange(len(batch), device=batch.device) % outputs
        starts = [part.name for part in parts if any(True for _ in part.parameters())]
        plain = _moved(parts, lambda: twin.train()(batch))
        costs = []
        for start in reversed(starts):
            unfreeze_from(network, start)
            optimizer = (make_optimizer or torch.optim.AdamW)(trainable_parameters(network))
            costs.append(_measure(twin, parts, start, plain, (batch, labels), optimizer, seconds / len(starts)))
            twin.zero_grad(set_to_none=True)
    return costs


def _measure(twin, parts: list[Stage], start: str, plain, batch, optimizer, seconds: float) -> StepCost:
    """Count the bytes of one step, which warms up as well, then time some."""
    images, labels = batch
    train_mode(twin)
    there = [*twin.parameters(), *twin.buffers(), images, labels]
    kept = 0

    def step(count: bool = False) -> float:
        nonlocal kept
        began = time.perf_counter()
        optimizer.zero_grad()
        if count:
            loss, kept = kept_for_backward(lambda: F.cross_entropy(twin(images), labels), there)
        else:
            loss = F.cross_entropy(twin(images), labels)
        loss.backward()
        optimizer.step()
        _wait_for(images.device)
        return time.perf_counter() - began

    moving = _moved(parts, lambda: step(count=True))
    trainable = {part.name: count_parameters(part)[1] for part in parts}
    gradients = sum(p.grad.nbytes for p in twin.parameters() if p.grad is not None)
    state = sum(v.nbytes for entry in optimizer.state.values() for v in entry.values() if isinstance(v, Tensor))
    times = [step()]
    while sum(times) < seconds:
        times.append(step())
    peak = _peak(step, images.device, gradients + state)
    drifting = tuple(name for name in plain if not trainable[name])
    return StepCost(start, trainable, moving, drifting, kept, gradients, state, min(times), peak)


def _moved(parts: list[Stage], run: Callable[[], object]) -> tuple[str, ...]:
    """Run something and return the stages whose BatchNorm statistics are not bit for bit as before."""
    before = [[buffer.clone() for norm in batchnorms(part) for buffer in norm.buffers()] for part in parts]
    run()
    after = [[buffer for norm in batchnorms(part) for buffer in norm.buffers()] for part in parts]
    pairs = zip(parts, before, after, strict=True)
    return tuple(part.name for part, old, new in pairs if not all(map(torch.equal, old, new)))


def kept_for_backward(forward: Callable[[], Tensor], besides: Iterable[Tensor]) -> tuple[Tensor, int]:
    """Run `forward` and return its result and how many bytes autograd keeps for the backward pass.

    Several tensors that share their memory count once. The memory of the tensors in `besides` does not count: weights
    and the batch are there anyway.

    >>> x = torch.ones(10, requires_grad=True)
    >>> kept_for_backward(lambda: (x.exp() * 2).sum(), besides=[x])[1]  # ten float32: the result of exp
    40
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in besides}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in known:
            found[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    return result, sum(found.values())


def batchnorms(stage: Stage) -> list[nn.Module]:
    """Return the BatchNorm layers of a stage.

    >>> len(batchnorms(Stage("stem", [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)])))
    1
    """
    return [module for part in stage.modules for module in part.modules() if isinstance(module, _BatchNorm)]


def _wait_for(device: torch.device) -> None:
    """A GPU works behind Python's back: a clock is read only when it has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _peak(step: Callable[[], float], device: torch.device, there: int) -> int | None:
    """Most bytes in use during a step on CUDA; `there` bytes, gradients and optimizer state, are in use already."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    in_use = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return torch.cuda.max_memory_allocated(device) - in_use + there
