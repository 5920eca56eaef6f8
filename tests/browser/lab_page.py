"""A notebook in the browser, handled as a person would: opened, run by the menu, watched until it is done, read.

Nothing here waits for a fixed time: each wait ends when the page shows what was waited for, or fails at its limit.
"""

import re
import time
from pathlib import Path

import nbformat

from .lab_server import Lab

OPEN = 240_000  # milliseconds until a notebook is on the screen and its kernel answers
RUN = 1_800_000  # milliseconds for all cells of one notebook, on a computer that has other things to do as well
CLICK = 60_000
NOTEBOOK = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook"

# What JupyterLab complains about by itself, and why that says nothing about the course.
ALLOWED = {
    # it asks each new kernel whether it can debug; here the kernel is restarted meanwhile, as the test wants it
    "Could not restore the debugger state: Canceled future for debug_request",
}


class Watcher:
    """Listens to one page from the start: what its console complains about, and whom it asks besides this computer."""

    def __init__(self, page, nearby: str):
        self.complaints: list[str] = []
        page.on("console", lambda message: message.type == "error" and self.add(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.add(f"script error: {error}"))
        page.on("crash", lambda _: self.add("the page crashed"))
        page.on("request", lambda request: self.look(request.url, nearby))
        page.on("websocket", lambda socket: self.look(socket.url.replace("ws:", "http:", 1), nearby))

    def add(self, complaint: str) -> None:
        if not any(allowed in complaint for allowed in ALLOWED):
            self.complaints.append(complaint[:600])

    def look(self, url: str, nearby: str) -> None:
        if not url.startswith((nearby, "data:", "blob:", "about:")):
            self.complaints.append(f"asks another host: {url[:200]}")


class NotebookPage:
    """One notebook in one browser tab."""

    def __init__(self, context, lab: Lab, path: str):
        self.lab, self.path = lab, path
        self.sources = [c.source for c in nbformat.read(lab.folder / path, 4).cells if c.cell_type == "code"]
        self.page = context.new_page()
        self.page.set_default_timeout(CLICK)
        self.watcher = Watcher(self.page, lab.base)
        self.page.goto(lab.address(path), timeout=OPEN)
        self.page.wait_for_selector(f"{NOTEBOOK} .jp-CodeCell", timeout=OPEN)
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        """Until the kernel of this notebook is idle and the page listens to it."""
        end = time.monotonic() + OPEN / 1000
        while time.monotonic() < end:
            kernels = [s["kernel"] for s in self.lab.ask("api/sessions") if s["path"] == self.path]
            if kernels and kernels[0]["execution_state"] == "idle" and kernels[0]["connections"]:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{self.path}: no kernel is ready after {OPEN // 1000} s")

    def menu(self, name: str, command: str) -> None:
        """Click an entry of a menu of the bar at the top."""
        self.page.locator(".lm-MenuBar-item", has_text=re.compile(f"^{name}$")).click()
        self.page.locator(f".lm-Menu-item[data-command='{command}']").click()

    def run_all(self, limit: int = RUN) -> None:
        """Run > Restart Kernel and Run All Cells, and wait until the kernel has nothing more to do."""
        self.menu(
            "Edit", "editmenu:clear-all"
        )  # the outputs that came with the notebook: none may be taken for a new one
        self.page.wait_for_function(f"!document.querySelector('{NOTEBOOK} .jp-OutputArea-output')")
        self.menu("Run", "runmenu:restart-and-run-all")
        self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        self.page.locator(".jp-Dialog").wait_for(state="detached")
        said = self.page.wait_for_function("courseTests.ended()", timeout=limit, polling=250).json_value()
        assert said == "idle", f"{self.path}: {said}"

    def cells(self) -> list[dict]:
        """For each code cell: its source, its number in [ ], its text, its errors, its images and widgets."""
        facts = self.page.evaluate("courseTests.cells()")
        assert len(facts) == len(self.sources), (
            f"{self.path}: {len(facts)} code cells on the page, {len(self.sources)} in the file"
        )
        return [{**fact, "source": source} for fact, source in zip(facts, self.sources, strict=True)]

    def screenshots(self, folder: Path, name: str) -> list[Path]:
        """The whole notebook, screen by screen."""
        folder.mkdir(parents=True, exist_ok=True)
        box = self.page.locator(NOTEBOOK).bounding_box()
        part = self.page.viewport_size["height"] - max(0, box["y"]) - 30
        clip = {"x": box["x"], "y": max(0, box["y"]), "width": box["width"], "height": part}
        height, files, top = 1, [], 0
        while top < height:
            height = self.page.evaluate("courseTests.scroll", top)
            files.append(folder / f"{name}-{len(files) + 1:02}.png")
            self.page.screenshot(path=files[-1], clip=clip)
            top += int(part) - 20
        return files

    def close(self) -> None:
        self.page.close(run_before_unload=False)
        self.lab.end_kernels()
