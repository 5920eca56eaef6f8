"""What a training run leaves behind: the curves, the best epoch, and how the run ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .evaluation import Metrics


@dataclass
class History:
    """What a training run recorded, one entry per epoch, and how it ended.

    >>> History.from_dict(History(train_loss=[0.5]).to_dict()).train_loss
    [0.5]
    """

    train_loss: list[float] = field(default_factory=list)  # of the loss function that was trained with
    train_accuracy: list[float] = field(default_factory=list)  # measured while the weights move, on augmented images
    val_loss: list[float] = field(default_factory=list)  # always plain cross-entropy
    val_accuracy: list[float] = field(default_factory=list)
    val_mean_class_accuracy: list[float] = field(default_factory=list)
    learning_rates: list[list[float]] = field(default_factory=list)  # at the epoch's start, one per parameter group
    seconds: list[float] = field(default_factory=list)
    monitor: str = "val_loss"
    best_epoch: int = 0  # counted from 1; 0 = the weights from before training
    stopped: str = "finished"  # or "early stop", "interrupted", "diverged"
    problem: str = ""

    @property
    def epochs(self) -> int:
        """How many epochs were completed."""
        return len(self.val_loss)

    def out_of_patience(self, patience: int | None) -> bool:
        """Whether the last `patience` epochs brought nothing better; never with None."""
        return patience is not None and self.epochs - self.best_epoch >= patience > 0 and self.epochs > 0

    def best(self) -> dict[str, float]:
        """Return the four curves' values at the best epoch; empty if no epoch was completed."""
        curves = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        return {name: getattr(self, name)[self.best_epoch - 1] for name in curves} if self.best_epoch else {}

    def table(self) -> str:
        """Return one line per epoch, the best one marked, and how the run ended."""
        lines = ["epoch  train loss  train acc  val loss  val acc"]
        rows = zip(self.train_loss, self.train_accuracy, self.val_loss, self.val_accuracy, strict=False)
        for epoch, (loss, accuracy, val_loss, val_accuracy) in enumerate(rows, start=1):
            best = "  best" if epoch == self.best_epoch else ""
            lines.append(f"{epoch:5}  {loss:10.4f}  {accuracy:9.3f}  {val_loss:8.4f}  {val_accuracy:7.3f}{best}")
        return "\n".join([*lines, self.stopped + (f": {self.problem}" if self.problem else "")])

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, numbers and strings, as a checkpoint wants them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> History:
        """Build a History from what `to_dict` returned."""
        return cls(**plain)

    def add(self, trained: tuple[float, float], metrics: Metrics, rates: list[float], seconds: float) -> bool:
        """Record one epoch and return whether it is the best so far (a tie keeps the earlier one)."""
        self.train_loss.append(trained[0])
        self.train_accuracy.append(trained[1])
        self.val_loss.append(metrics.loss)
        self.val_accuracy.append(metrics.accuracy)
        self.val_mean_class_accuracy.append(metrics.mean_class_accuracy)
        self.learning_rates.append(rates)
        self.seconds.append(seconds)
        values = getattr(self, self.monitor)
        sign = -1 if self.monitor == "val_loss" else 1
        improved = not self.best_epoch or sign * values[-1] > sign * values[self.best_epoch - 1]
        if improved:
            self.best_epoch = len(values)
        return improved
