"""What tests/test_distributed.py lets several processes do: `torchrun ... tests/distributed_jobs.py NAME ...`."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Subset, TensorDataset

from tlhelpers import project, project_training
from tlhelpers.distributed import (
    copy_first_rank,
    evaluate_shares,
    from_first_rank,
    on_every_rank,
    process_group,
    shared_loss,
)
from tlhelpers.session import CourseError
from tlhelpers.sharing import SeededImages, evaluation_share, share


def accident() -> None:
    """The project, where one rank dies, raises or waits at one of its steps: accident WHAT RANK STEP OPTIONS..."""
    what, rank, step, *options = sys.argv[2:]
    real, real_image, steps, images = project_training.shared_loss, SeededImages.__getitem__, [], []

    def image(dataset, epoch_and_index):
        images.append(1)
        if what == "photo" and len(images) == int(step) and os.environ["RANK"] == rank:
            raise CourseError("rose.jpg cannot be read as an image")
        return real_image(dataset, epoch_and_index)

    def loss(*arguments):
        steps.append(1)
        if len(steps) == int(step) and os.environ["RANK"] == rank:
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "raise":
                raise ZeroDivisionError("a bug on one rank")
            print("WAITING", file=sys.stderr, flush=True)
            time.sleep(1000)
        return real(*arguments)

    project_training.shared_loss, SeededImages.__getitem__ = loss, image
    sys.exit(project.main(options))


def probe() -> None:
    """Each building block on real ranks; every rank writes what it saw: probe FOLDER."""
    with process_group("cpu") as ranks:
        found = {"rank": ranks.rank, "gradients": {size: _gradient_difference(ranks, size) for size in (6, 4, 2, 1)}}
        found |= {"scored": _scored(ranks), "errors": _errors(ranks), "buffers": _buffers(ranks)}
    Path(sys.argv[2], f"{ranks.rank}.json").write_text(json.dumps(found))


def _gradient_difference(ranks, size: int) -> float:
    """Largest difference between DDP's gradients of a shared batch and those of the same batch in one piece."""
    torch.manual_seed(size)
    inputs, labels = torch.randn(size, 5, dtype=torch.float64), torch.randint(0, 3, (size,))
    alone = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    wrapped = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    wrapped.load_state_dict(alone.state_dict())
    nn.functional.cross_entropy(alone(inputs), labels).backward()
    own = list(share(range(size), ranks.rank, ranks.world)) or [0]
    wrapper = DistributedDataParallel(wrapped)  # has to live until the backward pass: it does the averaging there
    shared_loss(wrapper(inputs[own]), labels[own], size, ranks).backward()
    pairs = zip(alone.parameters(), wrapped.parameters(), strict=True)
    return max((one.grad - other.grad).abs().max().item() for one, other in pairs)


def _scored(ranks) -> list:
    """How often each of 7, 2 and 3 images was scored, and the metrics of all ranks together."""
    results = []
    for count in (7, 2, 3):
        torch.manual_seed(count)
        images = TensorDataset(torch.randn(count, 4), torch.arange(count) % 3)
        seen = []

        class Watched(nn.Linear):
            def forward(self, x, images=images, seen=seen):
                seen.extend((images.tensors[0] == row).all(1).nonzero().item() for row in x)
                return super().forward(x)

        torch.manual_seed(0)
        model, own = Watched(4, 4), Subset(images, evaluation_share(count, ranks.rank, ranks.world))
        metrics = evaluate_shares(model, DataLoader(own, batch_size=2) if len(own) else [], num_classes=4)
        results.append([sorted(sum(on_every_rank(lambda seen=seen: seen), [])), vars(metrics)])
    return results


def _errors(ranks) -> list[str]:
    """What each rank hears of an error of rank 0, and of one of rank 2."""

    def fail(rank: int) -> None:
        if ranks.rank == rank:
            raise CourseError(f"rank {rank} has a problem")

    heard = []
    for work in (lambda: from_first_rank(lambda: fail(0)), lambda: on_every_rank(lambda: fail(2))):
        try:
            work()
        except CourseError as error:
            heard.append(str(error))
    return [*heard, from_first_rank(lambda: f"from {ranks.rank}")]


def _buffers(ranks) -> list[float]:
    """BatchNorm's statistics after each rank has seen other numbers and rank 0's were handed round."""
    norm = nn.BatchNorm1d(1)
    norm(torch.tensor([[1.0], [3.0]]) + 10 * ranks.rank)
    before = norm.running_mean.item()
    copy_first_rank(norm)
    return [before, norm.running_mean.item()]


if __name__ == "__main__":
    {"accident": accident, "probe": probe}[sys.argv[1]]()
