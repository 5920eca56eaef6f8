"""How quickly the explorers answer: a control is moved, and the clock runs until the new picture was sent.

python benchmarks/explorers.py               five rounds, a few minutes
python benchmarks/explorers.py --quick       one round of a few moves, to see that it runs

A real kernel runs in a process of its own, with all cores, as for a learner. This program plays the browser: it sends
the message that a moved control sends, and waits for the message with the picture. What the browser then needs to show
it is not counted. Every control is moved to its ends, its middle and back (lists: up to ten entries), under each entry
of the panel's first list. Each round opens the panels anew, so nothing is drawn already.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from queue import Empty
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

from rows import Row, table  # noqa: E402

BUDGET = 0.2  # seconds
PREPARE = """
import json, sys
sys.path.insert(0, ROOT)
import torch, ipywidgets
from torchvision import datasets, models
import tlhelpers as tl
from tlhelpers.explorers.augmentation import explore_augmentation
from tlhelpers.explorers.freezing import explore_freezing
from tlhelpers.explorers.mixing import explore_mixing
from tlhelpers.explorers.predictions import explore_predictions
from tlhelpers.explorers.schedules import explore_schedules
course = tl.start(profile="mini", device="cpu")
five = str(course.data / "mini" / "five-flowers")
raw, seen = datasets.ImageFolder(five), datasets.ImageFolder(five, transform=tl.eval_transform(64))
images, labels = (torch.stack(part) for part in zip(*((seen[i][0], torch.tensor(seen[i][1])) for i in (3, 219, 330))))
# as smooth as photographs: noise would make large files
large = torch.nn.functional.interpolate(torch.rand(40, 3, 14, 14), 224, mode="bicubic").clamp(0, 1)
rose = raw[330][0].resize((667, 500))
"""
# title: the code that makes the panel
PANELS = {
    "augmentation": "explore_augmentation(raw, index=219)",
    "augmentation, photograph of 667 x 500": "explore_augmentation([rose, rose])",
    "mixing": "explore_mixing(images, labels, raw.classes, tl.IMAGENET_MEAN, tl.IMAGENET_STD)",
    "mixing, 224 pixels": "explore_mixing(large, torch.arange(40) % 5, raw.classes)",
    "freezing": "explore_freezing(models.get_model('resnet18'), seconds=0.3)",
    "schedules": "explore_schedules(models.get_model('resnet18'), epochs=20, batches=32)",
    "predictions, 64 pixels": "explore_predictions(models.get_model('resnet10', num_classes=5).eval(), seen)",
    "predictions, 224 pixels": "explore_predictions(models.get_model('resnet18', num_classes=5).eval(), "
    "torch.utils.data.TensorDataset(large, torch.arange(40) % 5), raw.classes)",
}
# What a notebook usually does: the same 13 pictures by show_images, redrawn by ipywidgets.
USUAL = """
import matplotlib.pyplot as plt
from torchvision.transforms import v2
%matplotlib inline
def draw(smallest):
    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(64, scale=(smallest, 1.0))
    tl.show_images([raw[219][0], *(crop(raw[219][0]) for _ in range(12))], ncols=7)
    plt.show()
usual = ipywidgets.interactive(draw, smallest=ipywidgets.FloatSlider(0.8, min=0.05, max=1.0, step=0.05))
usual.update()
print(usual.children[0].model_id)
"""
DESCRIBE = """
panel = CODE
def kind(control):
    if isinstance(control, ipywidgets.Button):
        return ["button"]
    if isinstance(control, ipywidgets.Checkbox):
        return ["value", control.value, [True, False]]
    if isinstance(control, ipywidgets.Dropdown):
        return ["index", control.index, list(range(len(control.options)))]
    return ["value", control.value, [control.min, (control.min + control.max) / 2, control.max]]
described = {name: [control.model_id, *kind(control)] for name, control in panel.controls.items()}
first = next(iter(panel.controls))
shown = [list(panel.controls)]
if panel._visible and described[first][1] == "index":
    options = [o[1] if isinstance(o, tuple) else o for o in panel.controls[first].options]
    shown = [list(panel._visible(**(panel.values | {first: option}))) for option in options]
print(json.dumps({"controls": described, "shown": shown, "image": panel._image.model_id}))
"""


class Browser:
    """A kernel, and the messages that a notebook page would exchange with it."""

    def __init__(self) -> None:
        from jupyter_client.manager import start_new_kernel

        environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
        self.manager, self.client = start_new_kernel(kernel_name="python3", cwd=str(ROOT), env=environment)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code: str) -> str:
        """Run code in the kernel and return what it printed last."""
        printed: list[str] = []

        def keep(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                printed.append(message["content"]["text"])

        reply = self.client.execute_interactive(code, timeout=300, output_hook=keep)
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"]["traceback"]))
        return "".join(printed).strip().split("\n")[-1]

    def move(self, model: str, data: dict[str, Any], picture: str) -> float:
        """Send a control's message; return the seconds until the picture came, or all was done without a new one.

        `picture` is the model of the panel's image, or "" to wait for a figure in the output.
        """
        message = self.client.session.msg("comm_msg", {"comm_id": model, "data": data})
        start, arrived = time.perf_counter(), None
        self.client.shell_channel.send(message)
        while True:
            try:
                answer = self.client.get_iopub_msg(timeout=60)
            except Empty:
                raise RuntimeError(f"no answer to {data} within a minute") from None
            if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            now, content = time.perf_counter() - start, answer["content"]
            if answer["msg_type"] == "comm_msg" and content["comm_id"] == picture:
                if "value" in content["data"].get("state", {}):
                    arrived = now
            elif not picture and answer["msg_type"] == "display_data":
                arrived = now
            elif answer["msg_type"] == "status" and content["execution_state"] == "idle":
                return now if arrived is None else arrived


def plan(described: dict[str, Any], quick: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the moves as (what is moved, its model, the message's data)."""
    controls, shown = described["controls"], described["shown"]
    first, moves = next(iter(controls)), []
    for option, names in enumerate(shown[:2] if quick else shown):
        if len(shown) > 1 and option:
            moves.append((first, *_to(controls[first], option)))
        for name in names:
            if name == first and len(shown) > 1:
                continue
            if controls[name][1] == "button":
                data = {"method": "custom", "content": {"event": "click"}}
                moves.append((name, controls[name][0], data))
                continue
            _, _, here, stops = controls[name]
            stops = stops if len(stops) <= 10 else stops[:: max(1, len(stops) // 9)]
            if isinstance(here, int) and not isinstance(here, bool):
                stops = [int(stop) for stop in stops]
            for stop in [*(stop for stop in stops[: 1 if quick else None] if stop != here), here]:
                moves.append((name, *_to(controls[name], stop)))
    return moves


def _to(control: list[Any], value: Any) -> tuple[str, dict[str, Any]]:
    return control[0], {"method": "update", "state": {control[1]: value}, "buffer_paths": []}


def explorers(rounds: int, quick: bool) -> list[Row]:
    """Every explorer's slowest change of a control as a share of 0.2 s, and the usual way beside one of them."""
    rounds = 1 if quick else rounds
    seconds: dict[str, list[list[float]]] = {title: [] for title in PANELS}
    named: dict[str, list[str]] = {}
    ratios: list[tuple[float, float]] = []
    browser = Browser()
    try:
        browser.run(f"ROOT = {str(ROOT)!r}\n{PREPARE}")
        usual = browser.run(USUAL)
        for number in range(rounds):
            for title, code in PANELS.items():
                described = json.loads(browser.run(DESCRIBE.replace("CODE", code)))
                moves = plan(described, quick)
                named[title] = [what for what, _, _ in moves]
                seconds[title].append([browser.move(model, data, described["image"]) for _, model, data in moves])
                print(f"  round {number + 1}/{rounds}: {title}, {len(moves)} moves", file=sys.stderr, flush=True)
            ratios += against_the_usual_way(browser, usual, 2 if quick else 6)
    finally:
        browser.close()
    rows = [row(title, seconds[title], named[title]) for title in PANELS]
    ours, theirs = (median(pair[place] for pair in ratios) for place in (0, 1))
    note = f"the same 13 pictures: {1000 * ours:.0f} ms and {1000 * theirs:.0f} ms, median of {len(ratios)} pairs"
    what = "augmentation explorer / ipywidgets.interactive with tl.show_images"
    return [*rows, Row(what, median(a / b for a, b in ratios), "<= 1", note=note)]


def against_the_usual_way(browser: Browser, usual: str, pairs: int) -> list[tuple[float, float]]:
    """Move the same control of the explorer and of ipywidgets.interactive by turns, in changing order."""
    described = json.loads(browser.run(DESCRIBE.replace("CODE", PANELS["augmentation"])))
    control, found = described["controls"]["smallest"], []
    for number in range(pairs):
        value = 0.3 + 0.05 * number
        ways = [(control[0], described["image"]), (usual, "")]
        answers = {}
        for model, picture in ways if number % 2 == 0 else ways[::-1]:
            data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
            answers[model] = browser.move(model, data, picture)
        found.append((answers[control[0]], answers[usual]))
    return found


def row(title: str, rounds: list[list[float]], named: list[str]) -> Row:
    """The slowest move (median of the rounds) as a share of the budget."""
    each = [median(times) for times in zip(*rounds, strict=True)]
    slowest = max(range(len(each)), key=each.__getitem__)
    single, usual = max(map(max, rounds)), median(each)
    note = (
        f"slowest of {len(each)} moves: {named[slowest]}, {1000 * each[slowest]:.0f} ms; half of them take at most "
        f"{1000 * usual:.0f} ms; slowest single answer {1000 * single:.0f} ms in {len(rounds)} rounds"
    )
    return Row(f"explorer: {title}, slowest change / {BUDGET} s", each[slowest] / BUDGET, "<= 1", note=note)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    rows = explorers(options.rounds, options.quick)
    print(table(rows))
    return 1 if any(not row.met for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
