"""Panels with controls, in the browser: what they show, what their controls are called, and moving those by hand."""

import time
from dataclasses import dataclass, field


@dataclass
class Moved:
    """What moving one control did."""

    name: str
    by: str
    picture: bool  # whether another picture came
    status: bool  # whether the line below it says something else


@dataclass
class Explored:
    """What moving every control of a panel did, and what was wrong."""

    title: str
    moves: list[Moved] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def find_panels(page) -> list[tuple[str, object]]:
    """("explorer" or "quiz", its outermost element) for every panel of the notebook, in the order of the page."""
    kinds = page.evaluate("courseTests.panels()")
    return [(kind, page.locator(f"[data-panel='{number}']")) for number, kind in enumerate(kinds)]


def name_of(page, element) -> tuple[str, str]:
    """(role, name) of an element in Chromium's accessibility tree: what a screen reader says."""
    devtools = page.context.new_cdp_session(page)
    try:
        mark = element.get_attribute("data-control")
        found = devtools.send(
            "Runtime.evaluate", {"expression": f"document.querySelector('[data-control=\"{mark}\"]')"}
        )
        query = {"objectId": found["result"]["objectId"], "fetchRelatives": False}
        node = devtools.send("Accessibility.getPartialAXTree", query)["nodes"][0]
        role, name = (node.get(key, {}).get("value") or "" for key in ("role", "name"))
        return role, name.strip()
    finally:
        devtools.detach()


class Explorer:
    """One panel. `limit`: seconds that a reaction may take at most; no speed is measured here."""

    def __init__(self, page, panel, limit: float = 60):
        self.page, self.panel, self.limit = page, panel, limit
        self.title = panel.locator("strong").first.inner_text() if panel.locator("strong").count() else "a panel"

    def controls(self) -> list[dict]:
        return self.panel.evaluate("courseTests.controls")

    def shown(self) -> dict:
        return self.panel.evaluate("courseTests.shown")

    def locate(self, control: dict):
        return self.panel.locator(f"[data-control='{control['mark']}']")

    def wait(self, done) -> bool:
        """Whether done() becomes true within the limit."""
        end = time.monotonic() + self.limit
        while not done():
            if time.monotonic() > end:
                return False
            self.page.wait_for_timeout(50)
        return True

    def settled(self) -> dict:
        """What is shown once nothing changes any more: picture and status come one after the other."""
        seen = [{}]

        def quiet() -> bool:
            seen.append(self.shown())
            return seen[-1] == seen[-2] and seen[-1]["loaded"]

        self.wait(quiet)
        return seen[-1]

    def explore(self) -> Explored:
        """Look at the panel, reach every control with Tab, then move each by mouse and by keyboard."""
        report = Explored(self.title)
        if not self.wait(lambda: self.shown()["loaded"] and self.shown()["pictures"]):
            report.findings.append("no picture")
            return report
        if not all(self.shown()["alts"]) or not self.shown()["status"]:
            report.findings.append("a picture without alt text, or no status")
        report.findings += self.unreached()
        done: set[str] = set()
        self.move_the_rest(done, report)
        self.walk_first_list(done, report)
        if not report.moves:
            report.findings.append("nothing could be moved")
        elif not any(move.picture for move in report.moves) or not any(move.status for move in report.moves):
            report.findings.append("no move changed the picture, or none the status")
        return report

    def move_the_rest(self, done: set[str], report: Explored) -> None:
        """Move every control that is not in `done`: a move may show or hide others, so look again after each."""
        while controls := [control for control in self.controls() if control["mark"] not in done]:
            control = controls[0]
            done.add(control["mark"])
            role, name = name_of(self.page, self.locate(control))
            if control["kind"] == "track":
                name = "a track"
            elif not name:
                report.findings.append(f"a control without a name: {role or control['kind']}")
            self.move(control, name or role, "mouse", report, turns=(1, -1))
            back_by = "mouse" if control["kind"] == "track" else "keyboard"
            self.move(control, name or role, back_by, report, turns=(-1, 1))  # back to where it was

    def walk_first_list(self, done: set[str], report: Explored) -> None:
        """A list at the top says what the panel is about: choose every entry, move the controls that come with it."""
        first = self.controls()[0]
        if first["kind"] == "list":
            name = name_of(self.page, self.locate(first))[1]
            entries = self.locate(first).evaluate("list => list.options.length")
            for _ in range(entries if entries <= 12 else 1):  # the names of a hundred classes bring nothing new
                self.move(first, name, "mouse", report)
                self.move_the_rest(done, report)

    def unreached(self) -> list[str]:
        """Which controls the Tab key does not reach from the first one on."""
        wanted = {control["mark"]: control["kind"] for control in self.controls() if control["kind"] != "track"}
        self.panel.locator("[data-control]").first.focus()
        for _ in range(len(wanted) + 20):
            wanted.pop(self.page.evaluate("document.activeElement.dataset.control || ''"), None)
            if not wanted:
                break
            self.page.keyboard.press("Tab")
        return [f"Tab does not reach a control: {kind} {self.label(mark)}" for mark, kind in wanted.items()]

    def label(self, mark: str) -> str:
        return repr(name_of(self.page, self.panel.locator(f"[data-control='{mark}']"))[1])

    def move(self, control: dict, name: str, by: str, report: Explored, turns: tuple = (1, -1)) -> None:
        element, before = self.locate(control), self.shown()
        if element.bounding_box() is None or (not element.is_visible() and control["kind"] != "track"):
            return  # hidden by its own first move
        value = element.evaluate("courseTests.value")
        for turn in turns:  # at its end already? then the other way
            (by_mouse if by == "mouse" else by_keyboard)(self.page, element, control["kind"], turn)
            if control["kind"] == "button" or element.evaluate("courseTests.value") != value:
                break
        else:
            report.findings.append(f"{name!r} does not move by {by}")
            return
        if not self.wait(lambda: differences(before, self.shown())):
            report.findings.append(f"nothing answers when {name!r} is moved by {by}")
            return
        now = self.settled()
        if now["status"].startswith("Not drawn:"):
            report.findings.append(f"{name!r} moved by {by}: {now['status']}")
        changed = differences(before, now)
        report.moves.append(Moved(name, by, "pictures" in changed, "status" in changed))


def differences(before: dict, now: dict) -> list[str]:
    """Which of picture, status and code are others than before."""
    return [part for part in ("pictures", "status", "code") if before[part] != now[part]]


def by_mouse(page, element, kind: str, turn: int) -> None:
    element.scroll_into_view_if_needed()
    if kind in ("tick", "radio", "button"):
        element.click()
    elif kind == "list":  # its entries open in a window of the browser, where a test has no mouse
        count, now = element.evaluate("e => [e.options.length, e.selectedIndex]")
        element.select_option(index=(now + turn) % count)
    elif kind in ("number", "text"):  # the small arrows at the right end show when the mouse is there
        box = element.bounding_box()
        element.hover()
        page.mouse.click(box["x"] + box["width"] - 12, box["y"] + box["height"] * (0.3 if turn > 0 else 0.7))
    else:
        box = element.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 30 * turn, y, steps=4)
        page.mouse.up()


def by_keyboard(page, element, kind: str, turn: int) -> None:
    element.focus()
    if kind in ("tick", "button"):
        page.keyboard.press("Space")
    elif kind == "text":
        page.keyboard.press("End")
        page.keyboard.type("1")
        page.keyboard.press("Enter")
    elif kind == "list":  # opened first: on a closed list, JupyterLab takes the arrows for itself and leaves the list
        for key in ("Space", "ArrowDown" if turn > 0 else "ArrowUp", "Enter"):
            page.keyboard.press(key)
    else:
        page.keyboard.press("ArrowUp" if (kind == "number") == (turn > 0) else "ArrowDown")
