"""Whether what the model gives and what the loss expects belong together: scores, probabilities, their logarithms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..models import device_of
from .case import CannotTell, Case
from .copies import loss_apart
from .network import scores_of
from .report import Diagnosis, Finding

SOFTMAX_BEFORE_CROSS_ENTROPY = Diagnosis(
    "softmax-before-cross-entropy",
    "error",
    "the model ends in a softmax, and the loss takes another one",
    "Cross-entropy expects raw scores. Of probabilities, which lie between 0 and 1, it makes nearly equal ones, so "
    "even a perfect answer keeps a loss and training crawls.",
    "leave the Softmax out of the model; apply scores.softmax(1) when you want to read probabilities",
    "lesson 02, section 4",
)
LOG_SOFTMAX_BEFORE_CROSS_ENTROPY = Diagnosis(
    "log-softmax-before-cross-entropy",
    "note",
    "the model ends in a log-softmax, and the loss takes another one",
    "The second one changes nothing: the result is right, the work is wasted, and the code tells its reader something "
    "false.",
    "loss_fn = nn.NLLLoss()  # or leave the LogSoftmax out of the model",
    "lesson 02, section 4",
)
RAW_SCORES_INTO_NLL = Diagnosis(
    "raw-scores-into-nll",
    "error",
    "the loss expects log-probabilities and gets something else",
    "Negative log-likelihood only picks a number and flips its sign. Of other numbers it can be made as low as one "
    "likes without getting an answer right; it looks like wonderful progress.",
    "loss_fn = nn.CrossEntropyLoss()",
    "lesson 02, section 4",
)


def examine_loss(case: Case) -> Iterator[Finding]:
    """Measure what the model gives and what the loss does, so that functions and lambdas are seen as well."""
    given, takes = what_the_model_gives(case), what_the_loss_takes(case)
    if takes is None:
        raise CannotTell("the loss is neither a cross-entropy nor a negative log-likelihood")
    last = _last_softmax(case.net)
    by_whom = f"its last layer is {last}" if last else "they are made in its forward function"
    if takes == "scores" and given == "probabilities":
        yield SOFTMAX_BEFORE_CROSS_ENTROPY.found(
            f"each row of the model's outputs adds up to 1, {by_whom}; the loss is {_name(case.loss)}"
        )
    if takes == "scores" and given == "log-probabilities":
        yield LOG_SOFTMAX_BEFORE_CROSS_ENTROPY.found(
            f"exp(outputs) adds up to 1 in each row, {by_whom}; the loss is {_name(case.loss)}"
        )
    if takes == "log-probabilities" and given != "log-probabilities":
        sums = case.scores.exp().sum(1)
        fix = "loss_fn = nn.CrossEntropyLoss()" + ("  # and no Softmax" if given == "probabilities" else "")
        yield RAW_SCORES_INTO_NLL.found(
            f"the model gives {given}; exp(outputs) adds up to {sums.min():.2g} to {sums.max():.2g} in a row, not 1; "
            f"the loss is {_name(case.loss)}",
            fix=fix,
        )


def what_the_model_gives(case: Case) -> str:
    """Return "scores", "probabilities" or "log-probabilities", by the sums of the first batch's rows in eval mode."""
    scores = scores_of(case)
    if scores.shape[1] < 2:
        raise CannotTell("the model gives a single score")
    if not torch.isfinite(scores).all():
        raise CannotTell("the model gives numbers that are not finite")
    ones = torch.ones(len(scores))
    if torch.allclose(scores.exp().sum(1), ones, atol=1e-3):
        return "log-probabilities"
    if scores.min() >= 0 and torch.allclose(scores.sum(1), ones, atol=1e-3):
        return "probabilities"
    return "scores"


def what_the_loss_takes(case: Case) -> str | None:
    """Return "scores", "log-probabilities" or None, by what becomes of the loss when all scores rise by 3.

    A loss with a softmax of its own does not notice; negative log-likelihood falls by 3. That holds for class weights,
    label smoothing, functions and lambdas too. Raises `CannotTell` with the message of a loss that cannot be computed.
    """
    rows, width = 4, scores_of(case).shape[1]
    device = device_of(case.net)
    scores = torch.randn(rows, width, generator=torch.Generator().manual_seed(0)).to(device)
    labels = (torch.arange(rows) % width).to(device)
    if case.train.batch[1].ndim == 2:  # soft labels
        labels = nn.functional.one_hot(labels, width).float()
    loss = loss_apart(case.loss)
    try:
        with torch.no_grad():
            change = _value(loss, scores + 3, labels) - _value(loss, scores, labels)
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise CannotTell(f"the loss cannot be computed ({type(error).__name__}: {reason})") from error
    if abs(change) < 1e-3:
        return "scores"
    return "log-probabilities" if abs(change + 3) < 1e-3 else None


def _value(loss: Any, scores: Tensor, labels: Tensor) -> float:
    return float(loss(scores, labels).mean())


def _last_softmax(net: nn.Module) -> str | None:
    """The class name of the very last module, when it is a softmax of either kind."""
    last = list(net.modules())[-1]
    return type(last).__name__ if isinstance(last, (nn.Softmax, nn.LogSoftmax)) else None


def _name(loss: Any) -> str:
    """CrossEntropyLoss, cross_entropy, a function of your own."""
    if isinstance(loss, nn.Module):
        return type(loss).__name__
    name = getattr(loss, "__name__", type(loss).__name__)
    return "a function of your own" if name == "<lambda>" else name


EXAMINATIONS = (("head and loss", examine_loss),)
