"""Five classic recipes of transfer learning, each a short program to read and one command to run.

`python -m tlhelpers.recipes` lists them, `python -m tlhelpers.recipes R3` runs one. What each recipe did originally,
what was wrong with it and what runs here instead: docs/recipes.md.
"""

from __future__ import annotations

import importlib
from typing import Any

from .common import Setup

# name: (file of this folder, what it is). Each file has `run(setup)`, which reads from top to bottom.
RECIPES = {
    "R0": ("r0_feature_extraction", "ResNet-50 frozen, a new head that ends in LogSoftmax, NLLLoss, SGD 0.01"),
    "R1": ("r1_strategies", "Flowers102: head only, all layers, gradual, a rate per layer, and a small project"),
    "R2": ("r2_first_steps", "ResNet-18 frozen, two classes, Adam 0.001, then fine-tuned"),
    "R3": ("r3_five_flowers", "ResNet-18 frozen, five flowers, SGD 0.001 over the parameters that train"),
    "R4": ("r4_vgg_on_stl10", "VGG16 on STL-10: classifier[6] replaced, only that trained, or all layers"),
}


def run(name: str, setup: Setup) -> dict[str, Any]:
    """Run one recipe and return its figures, such as {"test_accuracy": 0.85}.

    `name` is one of RECIPES. Prints a line per epoch; pictures and weights go to `setup.out`.

    >>> sorted(RECIPES)
    ['R0', 'R1', 'R2', 'R3', 'R4']
    """
    module = importlib.import_module(f"{__name__}.{RECIPES[name][0]}")
    return module.run(setup)
