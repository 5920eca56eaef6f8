"""Small notebooks for the browser tests: every kind of control, a quiz, and faults that must be found."""

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

# The same first lines as in a lesson, shortened: the course stands where this notebook runs.
SETUP = "import sys\n\nsys.path.insert(0, '.')\nimport tlhelpers as tl\n\ncourse = tl.start(seed=0)"

PANEL = """from PIL import Image
from tlhelpers.explorers.panel import Panel, Picture, button, choice, number, slider, switch

controls = {
    "level": number("Level", 128, 0, 255),
    "share": slider("Share", 0.5, 0.0, 1.0, 0.05),
    "method": choice("Method", ["mixup", "CutMix"]),
    "dark": switch("Dark"),
    "again": button("Draw again"),
}


def draw(level, share, method, dark, again):
    colour = (level, int(255 * share) // (1 + dark), 80 * (method == "mixup") + again % 80)
    return Picture(Image.new("RGB", (80, 80), colour), f"a square of colour {colour}", f"colour {colour}")


Panel("Colours", controls, draw)"""

# All explorers of the course, on few images
EXPLORERS = (
    """import torch
from torchvision import models

weights = models.get_model_weights("resnet10").DEFAULT
size, mean, std = tl.from_weights(weights)
flowers = tl.five_flowers(course, transform=weights.transforms())
few = torch.utils.data.Subset(flowers, range(0, 600, 20))
images, labels = (torch.stack([few[i][0] for i in range(8)]), torch.tensor([few[i][1] for i in range(8)]))
model = models.get_model("resnet10", weights=weights)
_ = tl.replace_head(model, 5)""",
    "tl.explore_augmentation(tl.five_flowers(course))",
    "tl.explore_mixing(images, labels, flowers.classes, mean, std)",
    "tl.explore_freezing(model, images)",
    "tl.explore_schedules(model)",
    "tl.explore_predictions(model, few, flowers.classes, mean=mean, std=std)",
)


def notebook(*cells: str):
    """A notebook of these code cells, with a title above."""
    book = new_notebook(cells=[new_markdown_cell("# A small notebook"), *(new_code_cell(cell) for cell in cells)])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return book


# --- faults

FAULTY_CELLS = (
    "import warnings\n\nwarnings.warn('planted warning')",
    'from IPython.display import HTML\n\nHTML(\'<img alt="x" src="missing.png">\')',
    "import matplotlib.pyplot as plt\n\nplt.show()",
    'answer = 5\nFalse and tl.check("00.1", answer)',
    "1 / 0",
    "print('never reached')",
)

COMPLAINS = (
    "from IPython.display import Javascript\n\nJavascript('console.error(\"planted complaint\")')",
    "from IPython.display import Javascript\n\nJavascript('Promise.reject(new Error(\"planted rejection\"))')",
    'from IPython.display import HTML\n\nHTML(\'<img alt="x" src="https://example.invalid/x.png">\')',
)

DEAD = """from PIL import Image
from tlhelpers.explorers.panel import Panel, Picture, number

panel = Panel("Dead", {"level": number("Level", 1, 0, 9)},
              lambda level: Picture(Image.new("RGB", (80, 80)), "always the same", "always the same"))
panel"""

NAMELESS = """import ipywidgets
from PIL import Image
from tlhelpers.explorers.panel import Panel, Picture

Panel("Nameless", {"level": ipywidgets.IntSlider(value=1, max=255, readout=False)},
      lambda level: Picture(Image.new("RGB", (80, 80), (level, 0, 0)), f"red {level}", f"red {level}"))"""

THROWS = """from PIL import Image
from tlhelpers.explorers.panel import Panel, Picture, number

Panel("Throws", {"level": number("Level", 1, 0, 9)},
      lambda level: Picture(Image.new("RGB", (80, 80)), "black", {1: "only 1 is planted"}[level]))"""

DEAD_QUIZ = """quiz = tl.quiz("00")
quiz.choose = lambda *chosen: None
quiz"""

# The view of a widget that does not exist
MISSING = """from IPython.display import display

view = {"version_major": 2, "version_minor": 0, "model_id": "0" * 32}
display({"application/vnd.jupyter.widget-view+json": view}, raw=True)"""
