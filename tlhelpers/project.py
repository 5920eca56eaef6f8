"""`torchrun --nproc-per-node=4 -m tlhelpers.project`: the flower project of lesson 06 on several devices.

Without torchrun, `python -m tlhelpers.project` is the same training in one process. docs/scaling.md tells the story.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

import torch

from .distributed import Ranks, from_first_rank, process_group
from .history import History
from .precision import PRECISIONS
from .project_parts import Settings
from .project_training import train_project
from .session import PROFILES, Course, CourseError, choose_profile, data_dir, downloads_dir

REFUSED = 2  # exit code for settings or a checkpoint that cannot work, as argparse has it
HOW_TO = """
one process:         python -m tlhelpers.project
four on one machine: torchrun --standalone --nproc-per-node=4 -m tlhelpers.project --batch-size 128 --scale-lr sqrt
several machines, and what else changes: docs/scaling.md
The same command again goes on from the checkpoint, with any number of processes.
"""


class Parser(argparse.ArgumentParser):
    """A command line whose errors can wait until all processes know of them."""

    def error(self, message: str) -> NoReturn:
        raise CourseError(f"{message} (--help lists all options)")


def parser() -> Parser:
    """Return the command line; its defaults are those of `Settings`."""
    default = Settings()
    made = Parser(
        prog="python -m tlhelpers.project",
        description="Train the flower project of lesson 06: first the head, then all layers with rates by depth.",
        epilog=HOW_TO,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = made.add_argument_group("training")
    group.add_argument("--epochs", type=whole(1), help="passes over the training images (6 in mini, 12 in full)")
    group.add_argument("--batch-size", type=whole(1), help="images per step of ALL processes together (%(default)s)")
    group.add_argument(
        "--lr", type=number(0, above=True), help="highest rate, the head's (0.003 in mini, 0.0003 in full)"
    )
    group.add_argument(
        "--factor", type=number(0, 1, above=True), help="rate of a stage / rate of the next (%(default)s)"
    )
    group.add_argument("--weight-decay", type=number(0), help="of AdamW; none on biases and BatchNorm (%(default)s)")
    group.add_argument("--warmup", type=number(0, 1), help="share of the steps in which the rate rises (%(default)s)")
    group.add_argument("--dropout", type=number(0, 1), help="in front of the last layer (%(default)s)")
    group.add_argument("--batchnorm", choices=("train", "eval"), help="eval: keep BatchNorm's statistics (%(default)s)")
    group.add_argument("--seed", type=whole(0), help="of the head, the order and the augmentation (%(default)s)")
    group = made.add_argument_group("scaling")
    group.add_argument(
        "--scale-lr", choices=("none", "linear", "sqrt"), help="multiply --lr by batch size / base batch, or its root"
    )
    group.add_argument("--base-batch", type=whole(1), help="the batch size that --lr was chosen for (%(default)s)")
    group.add_argument("--workers", type=whole(0), help="processes per rank that load images (0 in mini, 2 in full)")
    group.add_argument(
        "--precision", choices=PRECISIONS, help="auto: half precision on a GPU that has it (%(default)s)"
    )
    group.add_argument("--device", choices=("cuda", "cpu"), help="default: the GPUs, if there are any")
    group = made.add_argument_group("data and files")
    group.add_argument("--profile", choices=tuple(PROFILES), help="bundled images, or real ones (full on a GPU)")
    group.add_argument("--limit", type=whole(1), metavar="N", help="only N images of each part, for a trial")
    group.add_argument("--checkpoint", type=Path, metavar="FILE", help="written after every epoch (%(default)s)")
    made.set_defaults(**{one.name: getattr(default, one.name) for one in fields(Settings)})
    return made


def whole(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` up, for argparse.

    >>> whole(1)("32")
    32
    """

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least {least}")
        return int(text)

    return read


def number(low: float, high: float = float("inf"), above: bool = False) -> Callable[[str], float]:
    """Return a reader of numbers from `low` to `high` (`above`: low itself is refused), for argparse.

    >>> number(0, above=True)("3e-3")
    0.003
    """

    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            value = float(text)
            if (low < value if above else low <= value) and value <= high and value != float("inf"):
                return value
        limit = f"{'above' if above else 'at least'} {low}" + (f" and at most {high}" if high != float("inf") else "")
        raise argparse.ArgumentTypeError(f"{text!r} must be a number {limit}")

    return read


@dataclass
class Progress:
    """How far this process has come, for its last words."""

    checkpoint: Path = Settings().checkpoint
    rank: int | None = None  # None until it has met the others
    world: int = 1
    epochs: int | None = None
    saved: int = 0

    def __str__(self) -> str:
        if not self.saved:
            return (
                f"Stopped before an epoch was saved. If {self.checkpoint} is there, the same command goes on from it."
            )
        return (
            f"Stopped. Epoch {self.saved} of {self.epochs} is saved in {self.checkpoint}: the same command goes on "
            "from there, with any number of processes."
        )


@contextlib.contextmanager
def last_words(progress: Progress) -> Iterator[None]:
    """When torchrun ends this process, because another one died or of a Ctrl-C, say what is saved, then go.

    Python runs a signal's handler only between two steps of the program, and a rank that waits for a dead one makes
    no more steps. So a thread waits for the signal's number, which Python writes to a socket at once.
    """
    if progress.world == 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard, written = socket.socketpair()
    written.setblocking(False)
    asked = (signal.SIGTERM, signal.SIGINT)
    handlers = {number: signal.signal(number, lambda *_: None) for number in asked}
    descriptor = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        while received := heard.recv(1):
            if received[0] in asked:  # others are not for us: a loader's process that ended
                leave(progress, 128 + received[0])

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        written.close()


def leave(progress: Progress, code: int) -> NoReturn:
    """End this process at once: tidying up would wait for others that may be gone."""
    if code != REFUSED and progress.rank in (0, 1):  # one of the two may be the one that died
        print(progress, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 1 failed, 2 refused, 130 interrupted."""
    progress = Progress()
    with contextlib.ExitStack() as silence:
        if os.environ.get("RANK", "0") != "0":
            silence.enter_context(contextlib.redirect_stdout(silence.enter_context(open(os.devnull, "w"))))
        try:
            run(arguments, progress)
        except CourseError as error:
            if not progress.rank:  # rank 0, or the processes have not met and each must speak for itself
                print(f"error: {error}", file=sys.stderr, flush=True)
            if progress.world > 1:
                leave(progress, REFUSED)  # together with the others, so that nobody is reported as the culprit
            return REFUSED
        except KeyboardInterrupt:
            print(f"\n{progress}", file=sys.stderr)
            return 130
    return 0


def run(arguments: Sequence[str] | None, progress: Progress) -> None:
    """Train with the options of the command line and report the best epoch."""
    options, problem = {"device": None}, None
    try:
        options = vars(parser().parse_args(arguments))
    except CourseError as error:
        problem = error
    with process_group(options.pop("device")) as ranks:
        progress.rank, progress.world = ranks.rank, ranks.world
        if problem is not None:  # not earlier: torchrun would end the others, perhaps the one that says why
            raise problem
        progress.checkpoint = options["checkpoint"]
        with last_words(progress):
            try:
                history = train(options, ranks, progress)
            except (CourseError, KeyboardInterrupt):
                raise
            except Exception as error:
                if ranks.world == 1:
                    raise
                print(f"process {ranks.rank} {what_happened(error)}", file=sys.stderr, flush=True)
                leave(progress, 1)
    best = history.best_epoch
    print(
        f"Best epoch: {best}, validation top-1 {history.val_accuracy[best - 1]:.1%}, mean per class "
        f"{history.val_mean_class_accuracy[best - 1]:.1%}. tl.load_checkpoint({str(progress.checkpoint)!r}) reads it."
    )


def train(options: dict, ranks: Ranks, progress: Progress) -> History:
    """Agree on the profile, say who takes part, train."""
    wanted, settings = options.pop("profile"), Settings(**options)
    profile, why = from_first_rank(lambda: choose_profile(wanted, ranks.device.type))
    course = Course(profile, ranks.device, settings.seed, data_dir(), downloads_dir())
    print(f"Profile:   {profile} ({why}): {PROFILES[profile]}")
    backend = torch.distributed.get_backend() if ranks.world > 1 else "none"
    print(f"Processes: {ranks.world} on {ranks.device.type}, communication: {backend}", flush=True)
    return train_project(settings, course, ranks, progress)


def what_happened(error: Exception) -> str:
    """One line when another process went away; everything about an error of this process's own."""
    text, told = str(error), isinstance(error.__cause__, CourseError)
    if isinstance(error, torch.distributed.DistError) or "gloo" in text.lower() or "nccl" in text.lower():
        return f"lost the connection to another process ({text.splitlines()[0]})"
    return "failed: " + (text if told else "".join(traceback.format_exception(error)))


if __name__ == "__main__":
    sys.exit(main())
