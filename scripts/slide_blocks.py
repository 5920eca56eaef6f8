"""The blocks a slide is made of: text, lists, tables, code, output and figures, each with the height it needs.

A slide is 1280 x 720 px. Heights are estimated here, rather too high than too low, so that what is too much for one
slide can be split before anyone sees it; check_site.py measures the result in a browser.
"""

import base64
import math
import re
import struct
from dataclasses import dataclass, field
from html import escape

from lesson_parts import MARKDOWN, items_of
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from site_pages import TEST_MARK, plain

WIDTH, ROOM = 1160, 580  # px for the blocks of a slide: beside the margins, below the heading
TEXT, LINE = 28, 38  # px: size and line height of text; slides.css says the same
LETTER = 0.47  # mean width of a letter of the text in em (Source Sans Pro: 0.45)
CODE_SIZES = (26, 24, 22, 20, 18, 17, 16)  # px, the first that fits
CODE_LETTER, CODE_LINE, CODE_EDGE = 0.605, 1.35, 34  # em, em, px
MAX_PAGES = 2  # an output that needs more slides is cut, and says so

FORMATTER = HtmlFormatter(nowrap=True, style="default")


@dataclass
class Block:
    html: str
    height: float


@dataclass
class Slide:
    heading: str
    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kind: str = ""  # its class in slides.css
    tag: str = ""  # a word beside the heading

    @property
    def room(self) -> float:
        return ROOM - sum(block.height for block in self.blocks)


def inline(markdown: str) -> str:
    return MARKDOWN.renderInline(" ".join(markdown.split()))


def lines_of(text: str, size: float = TEXT, width: float = WIDTH) -> int:
    """How many lines a text of this size takes. Bold words and inline code are wider than other letters."""
    wide = sum(len(word) for word in re.findall(r"`[^`]+`|\*\*[^*]+\*\*", text))
    letters = (len(plain(text)) + 0.25 * wide) * LETTER * size
    return max(1, math.ceil(letters / (width * 0.97)))


def text_block(markdown: str, kind: str = "") -> Block:
    """One paragraph. `kind` is its class in slides.css, where "big", "middle" and "small" have other sizes."""
    size, line = {"big": (40, 54), "middle": (34, 46), "small": (22, 30)}.get(kind.split(" ")[0], (TEXT, LINE))
    lines = lines_of(markdown, size)
    return Block(
        f'<p class="{kind}">{inline(markdown)}</p>' if kind else f"<p>{inline(markdown)}</p>", lines * line + 18
    )


def list_blocks(items: list[str]) -> list[Block]:
    """One block for each item, so that a long list can go on on the next slide."""
    return [Block(f"<li>{inline(item)}</li>", lines_of(item, TEXT, WIDTH - 40) * LINE + 10) for item in items]


def table_blocks(source: str) -> list[Block]:
    """A Markdown table, as one block for each part that fits a slide."""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in source.splitlines()]
    head, body = rows[0], rows[2:]
    longest = [max(len(plain(row[i])) if i < len(row) else 0 for row in [head, *body]) + 3 for i in range(len(head))]
    widths = [max(90, WIDTH * share / sum(longest)) for share in longest]

    def height(row):
        return 26 + 31 * max(lines_of(cell, 24, width - 24) for cell, width in zip(row, widths, strict=False))

    parts, used = [[]], height(head)
    for row in body:
        if used + height(row) > ROOM - 16 and parts[-1]:
            parts.append([])
            used = height(head)
        parts[-1].append(row)
        used += height(row)
    blocks = []
    for part in parts:
        top = "".join(f"<th>{inline(cell)}</th>" for cell in head)
        cells = "".join("<tr>" + "".join(f"<td>{inline(cell)}</td>" for cell in row) + "</tr>" for row in part)
        html = f"<table><thead><tr>{top}</tr></thead><tbody>{cells}</tbody></table>"
        blocks.append(Block(html, height(head) + sum(map(height, part)) + 16))
    return blocks


def code_height(text: str, size: int) -> float:
    columns = int((WIDTH - CODE_EDGE) / (CODE_LETTER * size))
    lines = sum(max(1, math.ceil(len(line) / columns)) for line in text.splitlines())
    return lines * size * CODE_LINE + CODE_EDGE


def has_wide_line(text: str, size: int) -> bool:
    return max(map(len, text.splitlines()), default=0) * CODE_LETTER * size > WIDTH - CODE_EDGE


def code_block(text: str, size: int, kind: str = "code") -> Block:
    text = TEST_MARK.sub("", text).strip("\n")
    inside = highlight(text, PythonLexer(), FORMATTER) if kind == "code" else escape(text)
    html = f'<pre class="{kind}" style="font-size: {size}px"><code>{inside.rstrip()}</code></pre>'
    return Block(html, code_height(text, size))


def best_size(texts: list[str], room: float) -> int | None:
    """The largest size at which all these blocks fit below each other, long lines unbroken if that can be had."""
    fitting = [size for size in CODE_SIZES if sum(code_height(text, size) for text in texts) <= room]
    unbroken = [size for size in fitting if not any(has_wide_line(text, size) for text in texts)]
    return next(iter(unbroken), fitting[-1] if fitting else None)


def code_blocks(source: str, room: float, kind: str = "code") -> list[Block]:
    """Code as one block, or cut at an empty line or in the middle when it is too long even at the smallest size."""
    size, lines = best_size([source], room), source.splitlines()
    smallest = CODE_SIZES[-1]
    if size or len(lines) < 2:
        return [code_block(source, size or smallest, kind)]
    fits = [n for n in range(1, len(lines)) if code_height("\n".join(lines[:n]), smallest) <= room]
    cut = max([n for n in fits if not lines[n].strip()] or fits[-1:] or [1])
    rest = "\n".join(lines[cut:]).strip("\n")
    return [code_block("\n".join(lines[:cut]), smallest, kind), *code_blocks(rest, ROOM, kind)]


def option_block(letter: str, option: str, why: str) -> Block:
    """One option of a quiz question. What is to be said about it appears on a click of its own."""
    why = " ".join(why.split())
    right = " right" if why.startswith("Right") else ""
    html = f'<p class="option">{letter} · {option}</p><p class="small fragment why{right}">{inline(why)}</p>'
    return Block(html, text_block(option).height + text_block(why, "small").height)


def blocks_of(kind: str, source: str) -> list[Block]:
    """A list, a table, a piece of code or a paragraph of Markdown as it stands."""
    if kind in ("bullet_list", "ordered_list"):
        return list_blocks(items_of(source))
    if kind == "table":
        return table_blocks(source)
    if kind == "fence":
        first, *code, _ = source.splitlines()
        return code_blocks("\n".join(code), ROOM, "code" if "python" in first else "output")
    return [text_block(source)]


def output_pages(text: str) -> list[str]:
    """A long output in pieces that fit a slide at the smallest size; the last says how much was left out."""
    pages, page = [], []
    for line in text.strip("\n").splitlines():
        if page and code_height("\n".join([*page, line, "…"]), CODE_SIZES[-1]) > ROOM:
            pages.append(page)
            page = []
        page.append(line)
    pages.append(page)
    left = sum(map(len, pages[MAX_PAGES:]))
    pages = ["\n".join(page) for page in pages[:MAX_PAGES]]
    if left:
        pages[-1] += f"\n… and {left} more lines in the notebook"
    return pages


def png_size(encoded: str) -> tuple[int, int]:
    """(width, height) of a PNG in base64: they stand at the same place in every PNG."""
    return struct.unpack(">II", base64.b64decode(encoded[:48])[16:24])


def figure_block(encoded: str, address: str, text: str, room: float = ROOM) -> tuple[Block, float]:
    """A figure with its sentence below, as large as `room` allows, and how large that is beside its own size."""
    width, height = png_size(encoded)
    below = lines_of(text, 22) * 30 + 24
    scale = min(WIDTH / width, (room - below) / height, 1.6)
    size = f'width="{int(width * scale)}" height="{int(height * scale)}"'
    html = f'<figure><img src="{escape(address)}" alt="{escape(text)}" {size}>'
    return Block(f"{html}<figcaption>{escape(text)}</figcaption></figure>", height * scale + below), scale
