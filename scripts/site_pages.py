"""Turn the course's own files (README.md, docs/, data/README.md, notebooks/) into the source pages of the site.

Text goes in, text comes out; build_site.py writes the pages down and calls Sphinx. The pages keep the places they have
in the repository, so most links between them hold as they are. What has to change is changed here: links to files that
are no page, pictures from other hosts, figures without a text alternative.
"""

import posixpath
import re
from copy import deepcopy
from pathlib import Path

from course_address import on_github
from nbformat.v4 import new_markdown_cell
from notebook_hygiene import FIGURE_SENTENCE, has_figure, tagged

START, LICENCE, SOLUTIONS = "index.md", "licence.md", "notebooks/solutions/index.md"
# Files and folders of the repository that have a page of another name.
OTHER_NAMES = {
    "README.md": START,
    "LICENSE": LICENCE,
    "LICENSE-docs": LICENCE,
    "CITATION.cff": LICENCE,
    "data": "data/README.md",
    "docs": START,
    "lessons": START,
    "notebooks": START,
    "notebooks/solutions": SOLUTIONS,
}
# The guides in the order a reader needs them; others follow by name.
GUIDES = ("instructor-guide", "offline-kit", "colab", "hosting", "troubleshooting", "results", "scaling")

CODE = re.compile(r"^ {0,3}(```+|~~~+).*?^ {0,3}\1[`~]*[ \t]*$|(?<!`)(`+)(?!`).+?(?<!`)\2(?!`)", re.M | re.S)
BADGE = re.compile(r"\[!\[([^\]]+)\]\(https?://[^)\s]+\)\]\(([^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])+)\]\(([^()\s]+)\)")
TEST_MARK = re.compile(r"^# NBVAL_\w+\n", re.M)  # for the tests of the notebooks, nothing to a reader
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z*`\"(])")


class SiteError(Exception):
    """The site cannot be built. The message names the file and says what to do."""


def plain(markdown: str) -> str:
    """Markdown as one line of plain text: for text alternatives and titles."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown)
    text = re.sub(r"(\*\*|__)(.+?)\1", r"\2", " ".join(text.split()))
    return re.sub(r"(?<!\w)\*(.+?)\*(?!\w)", r"\1", text).replace("`", "")


def sentences(text: str) -> list[str]:
    return SENTENCE_END.split(" ".join(text.split()))


def figure_text(notebook, index: int, name: str) -> str:
    """The text alternative of the figures of code cell `index`: the first sentence after "What the figure shows:".

    Raises SiteError when there is none; the hygiene rules of the notebooks ask for it too.
    """
    after = [c for c in notebook.cells[index + 1 :] if c.cell_type == "markdown" and not tagged(c, "hints")]
    if not after or FIGURE_SENTENCE not in after[0].source:
        line = next(iter(notebook.cells[index].source.splitlines()), "")
        raise SiteError(f"{name}: no '{FIGURE_SENTENCE}' in the text after the figure of the cell '{line}'")
    paragraph = after[0].source.split(FIGURE_SENTENCE, 1)[1].split("\n\n")[0]
    text = plain(sentences(paragraph.strip())[0])
    return text[:1].upper() + text[1:]


def outside_code(text: str, change) -> str:
    """`change` applied to the parts of a Markdown text that are neither a code block nor inline code."""
    kept = []

    def hide(match):
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    return re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], change(CODE.sub(hide, text)))


def rewrite_links(text: str, path: str, pages: set[str], root: Path, address: tuple[str, str]) -> str:
    """The links of one page, for the site.

    Args:
        text: its Markdown.
        path: its file in the repository, as "docs/results.md".
        pages: the files that have a page on the site.
        root: the repository; a link must lead to something in it.
        address: (repo, ref). Files without a page are shown on GitHub, or named where there is no such place.

    Raises:
        SiteError: a link leads nowhere.
    """
    folder = posixpath.dirname(path)

    def link(match):
        label, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        place, _, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(folder, place))
        page = OTHER_NAMES.get(place, place)
        if page in pages:
            return f"[{label}](/{page}{'#' + anchor if anchor else ''})"
        if place.startswith("..") or not (root / place).exists():
            raise SiteError(f"{path}: the link to {target} leads nowhere in the repository")
        if on_github(address):
            kind = "tree" if (root / place).is_dir() else "blob"
            return f"[{label}](https://github.com/{address[0]}/{kind}/{address[1]}/{place})"
        words = re.sub(r"\0\d+\0", place, label)
        return label if words.strip("`").endswith(place) else f"{label} (`{place}`)"

    # A badge is a picture from another host: on the site it becomes an ordinary link.
    return outside_code(text, lambda part: LINK.sub(link, BADGE.sub(r"[\1](\2)", part)))


def title_of(markdown: str, name: str) -> str:
    """The top heading of a page."""
    heading = re.search(r"^# (.+)$", CODE.sub("", markdown), re.M)
    if not heading:
        raise SiteError(f"{name}: a page of the site starts with a top heading, '# Title'")
    return heading[1]


def notebook_page(notebook, path: str, rewrite, twin: str):
    """A copy of an executed notebook as a page: with text alternatives, its links rewritten, and a line that says
    where the file and the other copy are.

    Args:
        notebook: the executed notebook.
        path: its file, as "notebooks/solutions/02_name.ipynb".
        rewrite: what turns the Markdown of a cell into that of the site.
        twin: the file of the other copy, the learner's or the solved one.
    """
    page, solved = deepcopy(notebook), "/solutions/" in path
    title_of(page.cells[0].source, path)
    for index, cell in enumerate(page.cells):
        if cell.cell_type == "markdown":
            cell.source = rewrite(cell.source)
            continue
        cell.source = TEST_MARK.sub("", cell.source)
        if has_figure(cell):
            cell.metadata["mystnb"] = {"image": {"alt": figure_text(notebook, index, path)}}
    copy = "" if solved else f" With the exercises solved: [its solution](/{twin})."
    note = f"{{download}}`This notebook as a file </files/{path}>` runs in the course folder, as `{path}`.{copy}"
    page.cells.insert(1, new_markdown_cell(f":::{{container}} tl-file\n{note}\n:::"))
    if solved:
        page.cells[0].source = page.cells[0].source.replace("# ", "# Solved: ", 1)
        note = f"Every exercise on this page is solved. Without the answers: [the lesson itself](/{twin})."
        page.cells.insert(1, new_markdown_cell(f":::{{warning}}\n{note}\n:::"))
    return page


def toctree(caption: str, pages: list[str]) -> str:
    lines = "\n".join("/" + page.removesuffix(".md").removesuffix(".ipynb") for page in pages)
    options = f":caption: {caption}\n:hidden:" if caption else ":maxdepth: 1"
    return f"```{{toctree}}\n{options}\n\n{lines}\n```\n" if pages else ""


def guide_order(path: Path) -> tuple[int, str]:
    return (GUIDES.index(path.stem) if path.stem in GUIDES else len(GUIDES), path.stem)


def start_page(readme: str, lessons: list[str], guides: list[str]) -> str:
    """README.md, and the table of contents of the whole site."""
    trees = [
        toctree("Lessons", lessons),
        toctree("Guides", guides),
        toctree("Answers", [SOLUTIONS]),
        toctree("About", ["data/README.md", LICENCE]),
    ]
    return "\n".join([readme.rstrip(), "", *trees])


def solutions_page(solutions: list[str]) -> str:
    return (
        "# Solutions\n\nEvery lesson once more, with its exercises solved and run. Try the exercises first: below each "
        "one there are hints that open one by one.\n\n" + toctree("", solutions)
    )


def licence_page(code: str, prose: str, citation: str) -> str:
    """LICENSE, LICENSE-docs and CITATION.cff on one page, word for word."""

    def block(text, language="text"):
        return f"```{language}\n{text.rstrip()}\n```\n"

    return "\n".join(
        [
            "# Licence and citation\n\nCode: MIT. Text, figures and bundled images: CC BY 4.0. What holds for the "
            "bundled images and networks, and for what the course downloads: [the data card](/data/README.md).\n",
            "## Code: MIT\n",
            block(code),
            "## Text, figures and images: CC BY 4.0\n",
            block(prose),
            "## How to cite\n\nThe file `CITATION.cff`, which GitHub and reference managers read:\n",
            block(citation, "yaml"),
        ]
    )
