"""Look at every page of build/site and every slide of build/slides in Chromium. `make site-check`.

python scripts/check_site.py                         what is there: build/site, and build/slides
python scripts/check_site.py --site FOLDER           only the site in this folder (--slides FOLDER: these decks)
python scripts/check_site.py --browser PROGRAM       this Chromium or Chrome
python scripts/check_site.py --axe axe.min.js        with the accessibility rules of axe-core too (its own copy of it)

Pages are opened from disk, as a reader would, and every request to another host is refused and reported. A Chromium
or Chrome of this computer is used, never one that was downloaded. Exit code 0: nothing found; 1: something; 2: no
browser, nothing to look at, or a named folder is not there.
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from find_browser import BROWSERS, find_browser

BUILD = Path(__file__).resolve().parent.parent / "build"
SCRIPTS = Path(__file__).resolve().parent / "site" / "checks"
FROM_DISK = ("file", "data", "blob", "about")
DESKTOP, PHONE, SLIDE = ({"width": w, "height": h} for w, h in ((1280, 900), (360, 740), (1280, 720)))
SEARCH_WORD = "BatchNorm"
MAX_TABS = 40
READY = 20_000  # milliseconds that a deck has to start


class Looker:
    """One browser, and the findings of all pages: {page: [what is wrong]}."""

    def __init__(self, browser, axe: Path | None = None):
        self.context = browser.new_context(viewport=DESKTOP)
        self.axe = axe.read_text(encoding="utf-8") if axe else None
        self.findings: dict[str, list[str]] = {}
        self.facts: dict[Path, dict] = {}

    def add(self, name: str, findings) -> None:
        kept = self.findings.setdefault(name, [])
        kept += [finding for finding in findings if finding not in kept]

    def attempt(self, look, path: Path, name: str, *more):
        """look(path, name, ...). A page that does not answer is a finding; the other pages have their turn."""
        from playwright.sync_api import Error

        try:
            return look(path, name, *more)
        except Error as error:
            self.add(name, [f"it does not answer: {str(error).splitlines()[0]}"])

    def open(self, path: Path, name: str, query: str = "", size=DESKTOP):
        """A page at its address on disk. What its console, its requests and its scripts complain about is a finding."""
        page = self.context.new_page()
        page.set_viewport_size(size)

        def refuse_other_hosts(route):
            scheme = urlsplit(route.request.url).scheme
            if scheme in FROM_DISK:
                route.continue_()
            else:
                self.add(name, [f"asks another host: {route.request.url}"])
                route.abort()

        page.route("**/*", refuse_other_hosts)
        page.on("console", lambda m: m.type in ("error", "warning") and self.add(name, [f"console: {m.text[:200]}"]))
        page.on("pageerror", lambda error: self.add(name, [f"script error: {error}"]))
        page.on("requestfailed", lambda r: self.add(name, [f"not loaded: {r.url}"] if r.url[:4] == "file" else []))
        page.goto(path.resolve().as_uri() + query, wait_until="load")
        return page

    def look_at_page(self, path: Path, name: str) -> None:
        page = self.open(path, name)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.evaluate("Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode().catch(() => 0))))")
        self.facts[path.resolve()] = facts = page.evaluate((SCRIPTS / "page_facts.js").read_text(encoding="utf-8"))
        self.add(name, facts["findings"])
        if self.axe:
            page.evaluate(self.axe)
            broken = page.evaluate(
                "axe.run({preload: false}).then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].html]))"
            )
            self.add(name, [f"axe: {impact}, {rule}: {html[:110]}" for impact, rule, html in broken])
        page.set_viewport_size(PHONE)
        self.add(name, page.evaluate((SCRIPTS / "phone_facts.js").read_text(encoding="utf-8")))
        page.close()

    def look_at_deck(self, path: Path, name: str) -> int:
        page = self.open(path, name, size=SLIDE)
        page.wait_for_function("window.Reveal && Reveal.isReady()", timeout=READY)
        slides = page.evaluate((SCRIPTS / "slide_facts.js").read_text(encoding="utf-8"))
        self.facts[path.resolve()] = facts = page.evaluate((SCRIPTS / "page_facts.js").read_text(encoding="utf-8"))
        self.add(name, [*slides["findings"], *facts["findings"]])
        page.close()
        return slides["count"]

    def try_speaker(self, path: Path, name: str, slides: int) -> None:
        """S opens the speaker's window, with notes, and the arrow in it moves the deck; ?print-pdf has every slide."""
        page = self.open(path, name, size=SLIDE)
        page.wait_for_function("window.Reveal && Reveal.isReady()", timeout=READY)
        noted = page.evaluate("document.querySelector('section:has(> aside.notes)')?.id || 'slide-1'")
        page.evaluate("id => { location.hash = '#/' + id }", noted)
        page.wait_for_function("id => Reveal.getCurrentSlide().id === id", arg=noted, timeout=10_000)
        before = page.evaluate("location.hash")
        try:
            with self.context.expect_page(timeout=10_000) as opened:
                page.keyboard.press("s")
            speaker = opened.value
            speaker.wait_for_function("document.querySelector('.speaker-controls-notes .value')?.textContent.trim()")
            speaker.wait_for_timeout(1000)  # its two small views of the deck have to load
            speaker.keyboard.press("ArrowRight")
            page.wait_for_function("before => location.hash !== before", arg=before, timeout=10_000)
            speaker.close()
        except Exception as error:
            self.add(name, [f"the speaker view does not work: {str(error).splitlines()[0]}"])
        page.close()
        printed = self.open(path, name, "?print-pdf", SLIDE)
        printed.wait_for_timeout(1500)
        pages = printed.evaluate("document.querySelectorAll('.pdf-page').length")
        self.add(name, [f"?print-pdf has {pages} pages for {slides} slides"] if pages != slides else [])
        printed.close()

    def try_search(self, path: Path, name: str) -> None:
        page = self.open(path, name, f"?q={SEARCH_WORD}")
        try:
            page.wait_for_selector("#search-results li a", timeout=15_000)
        except Exception:
            return self.add(name, [f"a search for {SEARCH_WORD} finds nothing"])
        links = page.evaluate("[...document.querySelectorAll('#search-results li a')].map(a => a.href)")
        self.add(name, [f"a result leads nowhere: {link}" for link in links if not on_disk(link).is_file()])
        page.close()

    def try_keyboard(self, path: Path, name: str) -> None:
        """The first Tab reaches a link that skips the navigation, later ones the navigation itself."""
        page = self.open(path, name)
        page.keyboard.press("Tab")
        first = page.evaluate("document.activeElement.getAttribute('href') || ''")
        if not first.startswith("#") or not page.evaluate("id => !!document.getElementById(id)", first[1:]):
            self.add(name, ["the first Tab does not reach a link that skips to the content"])
        inside = "!!document.activeElement.href && !!document.activeElement.closest('nav, [role=navigation], aside')"
        for _ in range(MAX_TABS):
            page.keyboard.press("Tab")
            if page.evaluate(inside):
                break
        else:
            self.add(name, [f"{MAX_TABS} times Tab do not reach the navigation"])
        page.close()

    def follow_links(self, root: Path) -> int:
        """Every link to a file leads to one below `root`, every anchor to an id; returns how many leave the site."""
        outside = 0
        for path, facts in self.facts.items():
            for link in set(facts["links"]):
                parts = urlsplit(link)
                if parts.scheme != "file":
                    outside += parts.scheme in ("http", "https")
                    continue
                target, anchor, name = on_disk(link), unquote(parts.fragment), path.relative_to(root).as_posix()
                if not target.is_file() or not target.is_relative_to(root):
                    self.add(name, [f"the link leads nowhere: {target}"])
                elif anchor and not anchor.startswith("/") and target in self.facts:
                    if anchor not in self.facts[target]["ids"]:
                        self.add(name, [f"no such place: {target.name}#{anchor}"])
        return outside


def on_disk(link: str) -> Path:
    return Path(url2pathname(urlsplit(link).path)).resolve()


def check_site(looker: Looker, folder: Path) -> str:
    pages = sorted(path for path in folder.rglob("*.html") if "_static" not in path.parts)
    for path in pages:
        looker.attempt(looker.look_at_page, path, path.relative_to(folder).as_posix())
    if (folder / "search.html").is_file():
        looker.attempt(looker.try_search, folder / "search.html", "search.html")
    looker.attempt(looker.try_keyboard, folder / "index.html", "index.html")
    outside = looker.follow_links(folder.resolve())
    return f"{folder}: {len(pages)} pages; {outside} links to other places, not followed"


def check_slides(looker: Looker, folder: Path) -> str:
    looker.attempt(looker.look_at_page, folder / "index.html", "index.html")
    decks = sorted(folder.glob("[0-9][0-9]_*.html"))
    counts = {path: looker.attempt(looker.look_at_deck, path, path.name) for path in decks}
    seen = {path: count for path, count in counts.items() if count is not None}
    for path in list(seen)[:1]:
        looker.attempt(looker.try_speaker, path, path.name, seen[path])
    looker.follow_links(folder.resolve())
    return f"{folder}: {len(decks)} decks, {sum(seen.values())} slides"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, metavar="FOLDER", help="look at this site")
    parser.add_argument("--slides", type=Path, metavar="FOLDER", help="look at these slides")
    parser.add_argument("--browser", metavar="PROGRAM", help="the Chromium or Chrome to use")
    parser.add_argument("--axe", type=Path, metavar="FILE", help="axe.min.js of axe-core, for its accessibility rules")
    options = parser.parse_args(arguments)
    named = [(check_site, options.site), (check_slides, options.slides)]
    wanted = [pair for pair in named if pair[1]] or [(check_site, BUILD / "site"), (check_slides, BUILD / "slides")]
    there = [(check, folder) for check, folder in wanted if (folder / "index.html").is_file()]
    missing = [folder for check, folder in wanted if (check, folder) not in there]
    if missing and (not there or options.site or options.slides):
        print(f"No index.html in {' or '.join(map(str, missing))}: make site, make slides.", file=sys.stderr)
        return 2
    for folder in missing:
        print(f"not built, not looked at: {folder.parent.name}/{folder.name}")
    if importlib.util.find_spec("playwright") is None:
        print('The check needs Playwright: .venv/bin/python -m pip install -e ".[browser]"', file=sys.stderr)
        return 2
    program = find_browser(options.browser)
    if not program:
        wanted = options.browser or ", ".join(BROWSERS[:4])
        print(f"No browser found ({wanted}). Install Chromium or Chrome, or name it: --browser PATH", file=sys.stderr)
        return 2
    from playwright.sync_api import sync_playwright

    found = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        for check, folder in there:
            looker = Looker(browser, options.axe)
            print(check(looker, folder), flush=True)
            for name, findings in looker.findings.items():
                for finding in findings:
                    found += 1
                    print(f"  {name}: {finding}")
        browser.close()
    print(f"{found} findings" if found else "Nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
