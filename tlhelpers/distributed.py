"""What training on several devices at once needs: who am I, and how do losses, sums and decisions come together.

Every process (a "rank", numbered from 0) holds the whole network and works on its share of each batch (`sharing.py`).
PyTorch's DistributedDataParallel averages the gradients of all ranks after every backward pass, so all take the same
step. What is left to do stands here. Each function also works in a single process: then there is nobody to wait for.
(https://docs.pytorch.org/docs/stable/notes/ddp.html)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from .evaluation import Metrics, check_scores, to_device
from .freezing import preserved_modes
from .models import device_of, unwrap
from .session import CourseError, choose_device
from .sharing import share

PATIENCE = timedelta(minutes=30)  # how long a rank waits for the others: one of them may be downloading


@dataclass(frozen=True)
class Ranks:
    """This process among all: number `rank` of `world`, and number `local_rank` on its own machine.

    >>> Ranks(rank=0, world=1, local_rank=0, device=torch.device("cpu")).world
    1
    """

    rank: int
    world: int
    local_rank: int
    device: torch.device


@contextmanager
def process_group(device: str | None = None) -> Iterator[Ranks]:
    """Join the processes that torchrun started; without torchrun be the only one. At the end of the block, leave.

    torchrun tells each process its place in environment variables. GPUs talk through NCCL, each process with the GPU
    of its own number; CPUs talk through gloo. Raises `CourseError` when a machine has fewer GPUs than processes.

    >>> with process_group("cpu") as ranks:
    ...     print(ranks.rank, "of", ranks.world, "on", ranks.device)
    0 of 1 on cpu
    """
    rank, world, local = (int(os.environ.get(name, 0)) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if world <= 1:
        yield Ranks(0, 1, 0, choose_device(device))
        return
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
    use_gpus = gpus > 0 and device in (None, "cuda")
    if device == "cuda" or use_gpus:
        if here > gpus:
            raise CourseError(
                f"{here} processes on a machine with {gpus} CUDA GPUs: each needs one of its own. Start fewer "
                f"(--nproc-per-node), or compute on the CPU with --device cpu."
            )
        torch.cuda.set_device(local)
    elif device not in (None, "cpu"):
        raise CourseError(f"device={device!r} cannot be shared by several processes: use cuda or cpu.")
    ranks = Ranks(rank, world, local, torch.device("cuda", local) if use_gpus else torch.device("cpu"))
    dist.init_process_group("nccl" if use_gpus else "gloo", timeout=PATIENCE)
    yield ranks
    # not after an error: leaving politely would wait for ranks that may wait for this one
    dist.destroy_process_group()


def _alone() -> bool:
    return not (dist.is_available() and dist.is_initialized())


def shared_loss(scores: Tensor, labels: Tensor, size: int, ranks: Ranks) -> Tensor:
    """Return the loss whose gradients, averaged over the ranks, are those of the mean over the whole batch.

    DistributedDataParallel divides by the number of ranks, however many images each had. So each rank sums over its
    own images, divides by the `size` of the whole batch and multiplies by the number of ranks.

    >>> shared_loss(torch.zeros(2, 2), torch.tensor([0, 1]), 2, Ranks(0, 1, 0, torch.device("cpu")))
    tensor(0.6931)
    """
    own = len(share(range(size), ranks.rank, ranks.world))  # 0 for a rank that only takes part
    return F.cross_entropy(scores, labels, reduction="sum") * (own > 0) * ranks.world / size


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Return the sum of the tensors that all ranks hand in; every rank gets it.

    >>> sum_over_ranks(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    total = tensor.clone()
    if not _alone():
        dist.all_reduce(total)
    return total


def from_first_rank(work: Callable[[], Any]) -> Any:
    """Let rank 0 do something, for example read a file, and give every rank what came out.

    A `CourseError` of rank 0 is raised on every rank: otherwise it would stop with a message and the others wait.

    >>> from_first_rank(lambda: 42)
    42
    """
    answer = [_result_or_error(work)] if _alone() or dist.get_rank() == 0 else [None]
    if not _alone():
        dist.broadcast_object_list(answer, src=0)
    return _results(answer)[0]


def on_every_rank(work: Callable[[], Any]) -> list[Any]:
    """Let every rank do the same and return all results, by rank. A `CourseError` of one becomes everybody's.

    >>> on_every_rank(lambda: "done")
    ['done']
    """
    answers = [_result_or_error(work)]
    if not _alone():
        own, answers = answers[0], [None] * dist.get_world_size()
        dist.all_gather_object(answers, own)
    return _results(answers)


def _result_or_error(work: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return work(), None
    except CourseError as error:
        return None, str(error)


def _results(answers: list[tuple[Any, str | None]]) -> list[Any]:
    for _, error in answers:
        if error is not None:
            raise CourseError(error)
    return [result for result, _ in answers]


def own_batches(batches: Iterable, ranks: Ranks) -> Iterator[Any]:
    """Yield this rank's batches. A file that cannot be read is an accident of one rank, not a refusal by all.

    The others wait for this one in their next sum, so it may not leave quietly: it raises RuntimeError.

    >>> list(own_batches([1, 2], Ranks(0, 1, 0, torch.device("cpu"))))
    [1, 2]
    """
    try:
        yield from batches
    except CourseError as error:
        if ranks.world == 1:
            raise
        raise RuntimeError(str(error)) from error


def copy_first_rank(model: nn.Module) -> None:
    """Give every rank the parameters and buffers (BatchNorm's statistics) of rank 0."""
    if not _alone():
        for tensor in unwrap(model).state_dict().values():
            dist.broadcast(tensor, src=0)


@torch.no_grad()
def evaluate_shares(model: nn.Module, own_batches: Iterable[tuple[Tensor, Tensor]], num_classes: int) -> Metrics:
    """Measure the model in eval mode where each rank brings other images; every rank gets the figures of all together.

    What is added up is sums: of losses, and of images and right answers per class. Means of the ranks' means would be
    wrong when their numbers of images differ. A rank may have no image at all. Modes are as before afterwards.

    >>> evaluate_shares(nn.Identity(), [(torch.eye(2), torch.tensor([0, 1]))], num_classes=2).accuracy
    1.0
    """
    net = unwrap(model)  # not through the wrapper: that would wait for the other ranks at every batch
    device = device_of(net)
    loss, seen, right = torch.zeros(1, device=device), *torch.zeros(2, num_classes, device=device)
    with preserved_modes(net):
        net.eval()
        for images, labels in own_batches:
            scores = net(to_device(images, device)).float()
            check_scores(scores, labels)
            labels = labels.to(device)
            loss += F.cross_entropy(scores, labels, reduction="sum")
            seen += torch.bincount(labels, minlength=num_classes)
            right += torch.bincount(labels[scores.argmax(1) == labels], minlength=num_classes)
    sums = sum_over_ranks(torch.cat([loss, seen, right])).cpu().double()
    loss, seen, right = sums[0], *sums[1:].view(2, num_classes)
    n, there = seen.sum(), seen > 0
    per_class = right[there] / seen[there]
    return Metrics((loss / n).item(), (right.sum() / n).item(), per_class.mean().item(), int(n))
