"""`python -m tlhelpers.recipes`: the list of the recipes; with a name, such as R3, run that one."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line.

    >>> parser().parse_args(["R3", "--epochs", "20"]).epochs
    20
    """
    made = argparse.ArgumentParser(prog="python -m tlhelpers.recipes", description="Run one of five classic recipes.")
    made.add_argument("recipe", nargs="?", help="R0 ... R4; without it they are listed")
    made.add_argument("--profile", choices=("mini", "full"), help="default: full on a CUDA GPU with a network")
    made.add_argument("--data", type=Path, metavar="FOLDER", help="your own images, one folder per class (R0, R2, R3)")
    made.add_argument("--epochs", type=int, metavar="N", help="default: what the recipe says, or fewer in mini")
    made.add_argument("--out", type=Path, metavar="FOLDER", help="figures and weights (default: build/recipes/R3)")
    made.add_argument("--seed", type=int, default=0)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after printing what cannot work."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go into files, no window opens
    asked = parser().parse_args(arguments)
    if asked.epochs is not None and asked.epochs < 1:
        parser().error("--epochs must be a whole number of at least 1")
    try:
        import tlhelpers as tl
        from tlhelpers.recipes import RECIPES, Setup, run
    except ImportError as error:  # a torch that is missing or broken: the message says what to do
        print(error)
        return 1
    if asked.recipe is None:
        for name, (_, what) in RECIPES.items():
            print(f"{name}  {what}")
        print("\nRun one: python -m tlhelpers.recipes R3      Options: --help      About them: docs/recipes.md")
        return 0
    name = asked.recipe.upper()
    if name not in RECIPES:
        print(f"There is no recipe {asked.recipe!r}: choose one of {', '.join(RECIPES)}.")
        return 1
    begin = time.perf_counter()
    try:
        course = tl.start(seed=asked.seed, profile=asked.profile)
        print(f"Recipe:  {name}, {RECIPES[name][1]}")
        run(name, Setup(course, asked.out or Path("build") / "recipes" / name, asked.data, asked.epochs))
    except tl.CourseError as error:
        print(error)
        return 1
    print(f"{name} took {time.perf_counter() - begin:.0f} seconds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
