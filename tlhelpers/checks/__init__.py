"""Exercise checks: the last line of an exercise cell is `tl.check("01.2", answer)`.

A check has three outcomes: not attempted (the blank is still there), wrong (the mistake by its name), right (why it
is right). It prints one line, never stops the notebook because of an answer, and leaves what it was given as it was.
The checks of lesson NN live in lesson_NN.py and look like this:

    @exercise("01.2", expects="a transform that takes a PIL image")
    def check_crop(crop):
        attempted(crop)
        require(isinstance(crop, v2.CenterCrop), "random crop at test time: use CenterCrop, it never moves")
        return "a centre crop shows the same pixels each time, so two evaluations agree"
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from ..session import CourseError, random_state_kept

NOT_ATTEMPTED, WRONG, RIGHT = "not attempted", "wrong", "right"
_LINE = {NOT_ATTEMPTED: "[ ] {} not attempted yet: {}", WRONG: "[x] {} not yet: {}", RIGHT: "[OK] {} right: {}"}
_BLANK = "replace the ... above with your answer and run the cell again"


@dataclass(frozen=True)
class CheckResult:
    """What a check found: `state` is "not attempted", "wrong" or "right", `message` the sentence it printed."""

    state: str
    message: str

    def _ipython_display_(self) -> None:
        """Show nothing: the cell has already printed the one line that counts."""


class NotAttempted(Exception):
    """Raised by `attempted`: the answer is still the blank."""


class Mistake(Exception):
    """Raised by `require`: the answer is wrong, and the message says how."""


@dataclass(frozen=True)
class _Exercise:
    function: Callable[..., str]
    expects: str


_EXERCISES: dict[str, _Exercise] = {}


def exercise(number: str, expects: str = "") -> Callable:
    """Register the decorated function as the check of exercise `number`, for example "01.2".

    `expects` says in plain words what the answer should be; it is shown when an answer is of so different a kind
    that the check itself trips over it.

    >>> @exercise("99.1", expects="a whole number")
    ... def check_sum(answer):
    ...     attempted(answer)
    ...     require(answer > 1, "too small: add the two numbers")
    ...     return "one and one is two"
    >>> result = check("99.1", 2)
    [OK] 99.1 right: one and one is two
    """

    def register(function: Callable[..., str]) -> Callable[..., str]:
        known = _EXERCISES.get(number)
        # the same function again is a reloaded file, another one is two checks under one number
        if known and (known.function.__module__, known.function.__name__) != (function.__module__, function.__name__):
            raise CourseError(f"exercise {number!r} already has the check {known.function.__name__}: renumber one.")
        _EXERCISES[number] = _Exercise(function, expects)
        return function

    return register


def attempted(*answers: Any, todo: str = _BLANK) -> None:
    """Stop the check as "not attempted" while any answer is a blank: `...`, None, "" or "...", also inside a list.

    >>> attempted(3, [1, 2])
    """
    if any(_is_blank(answer) for answer in answers):
        raise NotAttempted(todo)


def require(condition: Any, mistake: str) -> None:
    """Stop the check as "wrong" unless `condition` holds; `mistake` names the mistake and says what to do.

    >>> require(1 + 1 == 2, "count again")
    """
    if not bool(condition):
        raise Mistake(mistake)


def check(number: str, *answers: Any, **named: Any) -> CheckResult:
    """Check the answer to exercise `number`, print one line, return what was found.

    Raises CourseError only for a number that no exercise has. Weights, buffers, modes, gradients, tensors, loader
    generators and random numbers are put back as they were before the check.
    """
    found = _find(number)
    with _unchanged([*answers, *named.values()]):
        state, message = _judge(found, answers, named)
    message = " ".join(str(message).split())
    print(_LINE[state].format(number, message))
    return CheckResult(state, message)


def _judge(found: _Exercise, answers: tuple, named: dict) -> tuple[str, str]:
    try:
        return RIGHT, found.function(*answers, **named) or "that is it"
    except NotAttempted as blank:
        return NOT_ATTEMPTED, str(blank)
    except (Mistake, CourseError) as mistake:  # a helper's own complaint already says what to do
        return WRONG, str(mistake)
    except Exception as error:  # an answer of a kind nobody thought of must not stop the notebook
        reason = f"{type(error).__name__}: {error}"[:200]
        got = ", ".join(type(answer).__name__ for answer in (*answers, *named.values())) or "nothing"
        expects = f"It expects {found.expects}" if found.expects else "Look at the task again"
        return WRONG, f"the check cannot work with this answer ({reason}). {expects}; it was given: {got}"


def _is_blank(answer: Any) -> bool:
    if answer is None or answer is Ellipsis:
        return True
    if isinstance(answer, str):
        return answer.strip() in ("", "...")
    if isinstance(answer, dict):
        return any(_is_blank(item) for item in answer.values())
    return isinstance(answer, (list, tuple, set)) and any(_is_blank(item) for item in answer)


def known_exercises() -> list[str]:
    """Return the numbers of all exercises in the course, in order.

    >>> isinstance(known_exercises(), list)
    True
    """
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        if module.name.rpartition(".")[2].startswith("lesson_"):
            importlib.import_module(module.name)
    return sorted(_EXERCISES)


def _find(number: str) -> _Exercise:
    # only the lesson in use is loaded; all of them are when the number is unknown and the message must list them
    name = f"lesson_{str(number).partition('.')[0]}"
    if number not in _EXERCISES and name in [module.name for module in pkgutil.iter_modules(__path__)]:
        importlib.import_module(f"{__name__}.{name}")
    if number not in _EXERCISES:
        _unknown(number)
    return _EXERCISES[number]


def _unknown(number: Any) -> NoReturn:
    raise CourseError(f"There is no exercise {number!r}. The exercises are: {', '.join(known_exercises())}.")


@contextlib.contextmanager
def _unchanged(answers: list) -> Iterator[None]:
    """Put random numbers, models, tensors, optimizers and loader generators back when the check is over."""
    undo: list[Callable] = [partial(torch.set_grad_enabled, torch.is_grad_enabled())]
    for item in _flatten(answers):
        if isinstance(item, nn.Module):
            undo.append(_remember_module(item))
        elif isinstance(item, torch.Tensor):
            undo.append(_remember_tensor(item))
        elif isinstance(item, np.ndarray):
            undo.append(partial(np.copyto, item, item.copy()) if item.flags.writeable else lambda: None)
        elif isinstance(item, torch.optim.Optimizer):
            undo.append(partial(item.load_state_dict, copy.deepcopy(item.state_dict())))
        elif isinstance(item, DataLoader):
            for generator in (item.generator, getattr(item.sampler, "generator", None)):
                if generator is not None:
                    undo.append(partial(generator.set_state, generator.get_state()))
    with random_state_kept():
        try:
            yield
        finally:
            for put_back in undo:
                put_back()


def _flatten(answers: Any) -> Iterator[Any]:
    for item in answers:
        if isinstance(item, dict):
            yield from _flatten(item.values())
        elif isinstance(item, (list, tuple)):
            yield from _flatten(item)
        else:
            yield item


def _remember_tensor(tensor: torch.Tensor) -> Callable[[], None]:
    before, gradient = tensor.detach().clone(), tensor.grad if tensor.is_leaf else None
    gradient_before = None if gradient is None else gradient.clone()
    needs_grad = tensor.requires_grad

    def put_back() -> None:
        with torch.no_grad():
            if not torch.equal(tensor.detach(), before):  # equal tensors stay untouched, and so does their version
                tensor.copy_(before)
        if tensor.is_leaf and tensor.requires_grad != needs_grad:
            tensor.requires_grad_(needs_grad)
        if tensor.is_leaf:
            tensor.grad = gradient_before

    return put_back


def _remember_module(module: nn.Module) -> Callable[[], None]:
    modes = [(part, part.training) for part in module.modules()]
    tensors = [_remember_tensor(tensor) for tensor in (*module.parameters(), *module.buffers())]

    def put_back() -> None:
        for part, mode in modes:
            part.training = mode
        for restore in tensors:
            restore()

    return put_back
