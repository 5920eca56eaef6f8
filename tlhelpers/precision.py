"""Mixed precision: fast half-precision arithmetic where the graphics card has it, float32 where it matters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from .session import CourseError

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass
class MixedPrecision:
    """How one run computes: `autocast` goes around forward pass and loss, `step` does the rest.

    The weights stay float32; inside `autocast` torch casts what each operation can afford.
    (Micikevicius et al. 2018, arXiv:1710.03740; https://pytorch.org/docs/stable/amp.html)
    """

    dtype: torch.dtype
    autocast: torch.autocast  # switched off for float32
    scaler: torch.amp.GradScaler  # switched off unless float16: it then passes everything through

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Backward pass and update. float16 has no small numbers: its gradients are computed enlarged.

        An update whose gradients overflowed is skipped and the enlargement halved, so a few lost steps are normal. To
        see whether they did, float16 waits for the GPU in every step (an optimizer with fused=True does not).
        """
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(optimizer)
        self.scaler.update()


def mixed_precision(precision: str, device: torch.device) -> MixedPrecision:
    """Return what `fit` computes with: "auto", "float32", "bfloat16" or "float16".

    "auto" is bfloat16 on a CUDA card that computes in it (from compute capability 8.0 on), float16 on an older one,
    float32 everywhere else: a CPU without matrix units for it only gets slower. Raises `CourseError` for another word.

    >>> mixed_precision("auto", torch.device("cpu")).dtype
    torch.float32
    """
    if precision not in PRECISIONS:
        raise CourseError(f"precision={precision!r} must be one of {', '.join(PRECISIONS)}.")
    dtype = _native_half() if precision == "auto" and device.type == "cuda" else torch.float32
    if precision != "auto":
        dtype = getattr(torch, precision)
    autocast = torch.autocast(device.type, dtype, enabled=True) if dtype != torch.float32 else _off(device)
    return MixedPrecision(dtype, autocast, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16))


def _native_half() -> torch.dtype:
    # older cards imitate bfloat16, slower than they compute in float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _off(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, enabled=False)


@contextmanager
def no_warning_about_skipped_steps(mixed: MixedPrecision) -> Iterator[None]:
    """A skipped first update makes a scheduler warn of a wrong order; under float16 it is the normal course."""
    with warnings.catch_warnings():
        if mixed.scaler.is_enabled():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        yield
