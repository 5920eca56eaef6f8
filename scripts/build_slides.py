"""Build the slides of the lessons: one reveal.js deck for each, and a page that lists them. `make slides`.

python scripts/build_slides.py                  into build/slides/; open build/slides/index.html, no network needed
python scripts/build_slides.py --only 02        one lesson, the other decks stay
python scripts/build_slides.py --out FOLDER     into another folder, a new one or one that this built before

reveal.js is copied from the package sphinx-revealjs, which carries it; `pip install -e ".[site]"` brings that and the
rest. What goes on a slide and what into the speaker notes: lesson_slides.py.
"""

import argparse
import base64
import importlib.util
import re
import shutil
import sys
from html import escape
from pathlib import Path
from string import Template

from built_folder import FolderError, built_folder

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "slides"
PARTS = Path(__file__).resolve().parent / "slides"  # templates and style
TOOLS = {"sphinx_revealjs": "sphinx-revealjs", "markdown_it": "markdown-it-py", "pygments": "Pygments"}
MISSING = 'The slides need {}. Install what is missing: .venv/bin/python -m pip install -e ".[site]"'
REVEAL = ("dist/reveal.js", "dist/reveal.css", "dist/reset.css", "dist/theme/fonts/source-sans-pro",
          "plugin/notes/notes.js", "LICENSE")  # fmt: skip

absent = [name for module, name in TOOLS.items() if importlib.util.find_spec(module) is None]
if not absent:
    import nbformat
    from lesson_parts import MARKDOWN
    from lesson_slides import Deck, make_deck
    from site_pages import SiteError, plain
    from slide_blocks import FORMATTER, Slide, inline


def copy_reveal(out: Path) -> None:
    """What a deck loads of reveal.js, with its licence, below out/reveal."""
    package = Path(importlib.util.find_spec("sphinx_revealjs").origin).parent
    for name in REVEAL:
        source, target = package / "_static" / "revealjs" / name, out / "reveal" / name
        if not source.exists():
            raise SiteError(f"this version of sphinx-revealjs has no {name} of reveal.js: install another one")
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


def slide_html(slide: "Slide", number: int) -> str:
    level = "h1" if slide.kind == "title" else "h2"
    tag = f' <span class="tag">{escape(slide.tag)}</span>' if slide.tag else ""
    body, in_list = [], False
    for block in slide.blocks:
        if block.html.startswith("<li>") != in_list:
            body.append("</ul>" if in_list else "<ul>")
            in_list = not in_list
        body.append(block.html)
    body.append("</ul>" if in_list else "")
    notes = "".join(MARKDOWN.render(text) for text in slide.notes)
    aside = f'<aside class="notes">{notes}</aside>' if notes else ""
    heading = f"<{level}>{inline(slide.heading)}{tag}</{level}>"
    # The margins belong to a part of their own: reveal.js takes those of a <section> away when it prints.
    page = f'<div class="page">{heading}\n{"".join(body)}</div>'
    return f'<section id="slide-{number}" class="{slide.kind}">\n{page}\n{aside}\n</section>'


def deck_html(deck: "Deck", template: Template) -> str:
    number, stacks = 0, []
    for stack in deck.stacks:
        slides = []
        for slide in stack:
            number += 1
            slides.append(slide_html(slide, number))
        stacks.append("<section>\n" + "\n".join(slides) + "\n</section>")
    return template.substitute(title=escape(deck.stacks[0][0].heading), slides="\n".join(stacks))


def keep_deck(name: str, old: Path, new: Path) -> None:
    """Take a deck that was built before, with its figures, into the new folder; nothing when there is none."""
    for path in (old / f"{name}.html", *(old / "figures").glob(f"{name}-*.png")):
        if path.is_file():
            shutil.copy(path, new / path.relative_to(old))


def listed_deck(deck: Path) -> str:
    """The line of a finished deck on the page that lists them."""
    text = deck.read_text(encoding="utf-8")
    title, count = re.search("<title>(.*?)</title>", text)[1], text.count('<section id="slide-')
    return f'<li><a href="{deck.name}">{title}</a> <span>{count} slides</span></li>'


def build(notebooks: list[Path], out: Path, others: list[Path] = ()) -> list[tuple[str, int]]:
    """The decks of these notebooks in the folder `out`, replaced when all went well; [(title, slides), ...].

    The decks of the notebooks `others` stay as they are in `out`, where they are there.
    """
    template, index = (Template((PARTS / name).read_text(encoding="utf-8")) for name in ("deck.html", "index.html"))
    built = []
    with built_folder(out, "slides") as new:
        (new / "figures").mkdir()
        copy_reveal(new)
        style = (PARTS / "slides.css").read_text(encoding="utf-8") + FORMATTER.get_style_defs("pre.code")
        (new / "slides.css").write_text(style, encoding="utf-8")
        for path in others:
            keep_deck(path.stem, out, new)
        for path in notebooks:
            deck = make_deck(nbformat.read(path, as_version=4), path.stem)
            (new / f"{path.stem}.html").write_text(deck_html(deck, template), encoding="utf-8")
            for name, encoded in deck.figures.items():
                (new / "figures" / name).write_bytes(base64.b64decode(encoded))
            built.append((plain(deck.stacks[0][0].heading), sum(map(len, deck.stacks))))
        rows = [listed_deck(deck) for deck in sorted(new.glob("*.html"))]
        (new / "index.html").write_text(index.substitute(decks="\n".join(rows)), encoding="utf-8")
    return built


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NN", help="lessons whose file name starts with this, e.g. 02")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where the slides go")
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if absent:
        print(MISSING.format(" and ".join(absent)), file=sys.stderr)
        return 2
    every = sorted(options.notebooks.glob("*.ipynb"))
    notebooks = [path for path in every if path.name.startswith(options.only)]
    if not notebooks:
        print(f"no notebook in {options.notebooks} starts with '{options.only}': make notebooks", file=sys.stderr)
        return 2
    try:
        for title, count in build(notebooks, options.out, [path for path in every if path not in notebooks]):
            print(f"{count:4} slides  {title}")
    except (SiteError, FolderError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Open {options.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
