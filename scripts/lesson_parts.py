"""Pick a lesson's Markdown to pieces: parts, items of a list, the sentences that are worth a place on a slide."""

import re

from markdown_it import MarkdownIt
from site_pages import sentences

MARKDOWN = MarkdownIt("commonmark").enable("table")

POINTS_BACK = re.compile(r"(It|Its|This|That|These|Those|They|Their|Both|Such|So|Then|He|There|The other|Here)\b")
LONGEST = 190  # letters of a sentence that may appear below an output or above a piece of code


def parts_of(markdown: str) -> list[tuple[str, str]]:
    """The top-level parts of a Markdown text as (kind, source): heading, paragraph, bullet_list, table, fence, ..."""
    lines = markdown.splitlines()
    tokens = [t for t in MARKDOWN.parse(markdown) if t.level == 0 and t.map and t.nesting >= 0]
    return [(t.type.removesuffix("_open"), "\n".join(lines[t.map[0] : t.map[1]]).strip()) for t in tokens]


def items_of(source: str) -> list[str]:
    """The items of a list in order, each on one line; those of a list inside an item follow as items of their own."""
    items = []
    for token in MARKDOWN.parse(source):
        if token.type == "list_item_open":
            items.append([])
        elif token.type == "inline":
            items[-1] += token.content.split()
        elif token.type in ("fence", "code_block"):
            items[-1] += [f"`` {line.strip()} ``" for line in token.content.splitlines() if line.strip()]
    return [" ".join(words) for words in items]


def key_sentences(paragraph: str) -> list[str]:
    """The sentences with a bold word; one that begins with "It" or the like comes with the sentence before it."""
    found, before = [], ""
    for sentence in sentences(paragraph):
        if re.search(r"\*\*[^*]+\*\*", sentence):
            leaning = before and POINTS_BACK.match(sentence)
            if leaning and found and found[-1].endswith(before):
                found[-1] += f" {sentence}"
            else:
                found.append(f"{before} {sentence}" if leaning else sentence)
        before = sentence
    return found


def opening(paragraph: str, enough: int = 60) -> str:
    """The first sentence, and the next ones while it is a very short one and what comes is short too."""
    first, *others = sentences(paragraph)
    for sentence in others:
        if len(first) >= enough or len(first) + len(sentence) > LONGEST:
            break
        first += f" {sentence}"
    return first


def lead_of(paragraph: str) -> str:
    """The sentence that leads to the code below: one that ends in a colon, else the first, unless it asks something."""
    every = sentences(paragraph)
    return every[-1] if every[-1].endswith(":") else "" if every[0].endswith("?") else every[0]


def question_of(text: str) -> str:
    return text[:1].upper() + text[1:]
