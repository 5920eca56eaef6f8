"""The rule that turns an executed lesson into slides.

A slide shows what a room looks at; what a teacher says goes into the speaker notes (key S).
- Title and goals are a slide each. Every "## section" starts a new stack: its title and first sentence.
- Prose goes into the notes. On the slide stay lists, tables, and the sentences with a **bold** word, which is how the
  lessons mark a new term.
- "**Predict:**" is a slide of its own, before the code that answers it.
- Code stands above its output; a figure has its sentence below. The first sentence of the text after it appears on the
  next click. What does not fit together is split, long output is cut after two slides.
- An exercise shows the task and the starter; hints and solution are in the notes. A quiz question shows its options,
  and each click explains one.
"""

import re

from lesson_parts import LONGEST, items_of, key_sentences, lead_of, opening, parts_of, question_of
from notebook_hygiene import FIGURE_SENTENCE, tagged
from site_pages import SiteError, figure_text, plain, sentences
from slide_blocks import (
    CODE_SIZES,
    ROOM,
    TEST_MARK,
    Block,
    Slide,
    best_size,
    blocks_of,
    code_block,
    code_blocks,
    code_height,
    figure_block,
    list_blocks,
    option_block,
    output_pages,
    text_block,
)

BEFORE_RUNNING = "Collect answers before the next slide."
PREDICT = re.compile(r"\*\*Predict[^*]*[:.]\*\*")
EXERCISE = re.compile(r"\*\*(Exercise \d\d\.\d+.*?)\*\*\s*", re.S)
DETAILS = re.compile(r"<details>\s*<summary>(.+?)</summary>(.*?)</details>", re.S)
SHORT_CODE = 6  # lines; when the figure of such a cell does not fit below it, the code goes into the notes
SMALLEST_FIGURE = 1.15  # times its own size, below code; else it gets a slide of its own
SMALLEST_BESIDE_POINTS = 18  # px of code that joins the slide of the points before it


class Deck:
    """Slides in the making. `stacks` holds one list of slides for each section of the lesson."""

    def __init__(self, notebook, name: str):
        self.notebook, self.name = notebook, name
        self.stacks: list[list[Slide]] = []
        self.figures: dict[str, str] = {}  # file name: base64
        self.section = self.lead = ""
        self.said: list[str] = []  # prose on its way to the notes of the next slide
        self.host: Slide | None = None  # a slide with a few points that has room for the code after it
        self.task: tuple[str, list[tuple[str, str]]] | None = None

    def add(self, slide: Slide, new_stack: bool = False) -> Slide:
        """Put a slide at the end, on as many slides as its blocks need; returns the last of them."""
        slide.notes = [*self.said, *slide.notes]
        self.said = []
        if new_stack or not self.stacks:
            self.stacks.append([])
        blocks, slide.blocks = slide.blocks, []
        for block in blocks:
            if slide.blocks and block.height > slide.room:
                self.stacks[-1].append(slide)
                slide = Slide(slide.heading, kind=slide.kind, tag="continued")
            slide.blocks.append(block)
        self.stacks[-1].append(slide)
        return slide

    def title(self, cell) -> None:
        parts = parts_of(cell.source)
        heading = plain(parts[0][1].removeprefix("# "))
        prose = [text for kind, text in parts[1:] if kind == "paragraph" and not text.startswith("[![")]
        time = [text for text in prose if text.startswith(("Measured:", "Time:"))]
        rest = [text for text in prose if text not in time]
        blocks = [text_block(opening(rest[0]), "middle")] if rest else []
        self.add(Slide(heading, [*blocks, *(text_block(text, "small") for text in time)], rest, "title"), True)
        self.section = heading

    def prose(self, cell, after_code: bool) -> None:
        """One Markdown cell between code: see the rule at the top of this file."""
        parts, source = [], cell.source
        exercise = EXERCISE.search(source)
        if exercise:
            task = source[exercise.end() :].strip()
            self.task = (plain(exercise[1]).rstrip("."), parts_of(task))
            source = source[: exercise.start()]
        for kind, text in parts_of(source):
            predict = PREDICT.search(text) if kind == "paragraph" else None
            if predict:
                before, question = text[: predict.start()].strip(), text[predict.end() :].strip()
                parts += [("paragraph", before)] if before else []
                parts.append(("predict", question))
            else:
                parts.append((kind, text))
        if parts and after_code and parts[0][0] == "paragraph" and self.stacks:
            self.reading(parts.pop(0)[1])
            if parts and FIGURE_SENTENCE in cell.source and parts[0][0] == "paragraph":
                self.reading(parts.pop(0)[1])
        opens = bool(parts) and parts[0][0] == "heading" and parts[0][1].startswith("## ")
        heading, blocks, notes = self.section, [], []
        for kind, text in parts:
            if kind == "heading":
                if blocks or notes:
                    opens = self.points(heading, blocks, notes, opens)
                heading, blocks, notes = text.lstrip("# "), [], []
                self.section = heading if text.startswith("## ") else self.section
            elif kind == "predict":
                opens = self.points(heading, blocks, notes, opens)
                blocks, notes = [], []
                self.add(Slide("Predict", [text_block(question_of(text), "big")], [BEFORE_RUNNING], "predict"))
            elif kind == "paragraph":
                first = opens and not blocks and not notes
                shown = key_sentences(text) or ([opening(text)] if first else [])
                blocks += [text_block(sentence, "middle") for sentence in shown]
                notes.append(text)
                self.lead = lead_of(text)
            else:
                blocks += blocks_of(kind, text)
        self.points(heading, blocks, notes, opens)

    def points(self, heading: str, blocks: list[Block], notes: list[str], opens: bool) -> bool:
        """A slide for what prose has to show, or its words into the notes of the next. False: no longer opens."""
        if blocks or opens:
            short = sum(block.height for block in blocks) < ROOM / 2
            kind = ("section short" if short else "section") if opens else ""
            slide = self.add(Slide(heading, blocks, notes, kind), opens)
            self.host = None if opens else slide
            self.lead = ""
        else:
            self.said += notes
        return False

    def reading(self, text: str) -> None:
        """Prose right after an output: into the notes of that slide, and its main sentence below the output."""
        slide = self.stacks[-1][-1]
        kept = [s for s in sentences(text) if FIGURE_SENTENCE not in s]
        slide.notes.append(" ".join(kept))
        main = next(iter(key_sentences(" ".join(kept))), "") or opening(" ".join(kept))
        if main and len(plain(main)) <= LONGEST and not main.endswith(":"):
            block = text_block(main, "reading fragment")
            if block.height <= slide.room:
                slide.blocks.append(block)

    def code(self, cell, index: int) -> None:
        source = TEST_MARK.sub("", cell.source).strip("\n")
        printed = "".join(output.get("text", "") for output in cell.outputs).strip("\n")
        images = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
        tag = "type along" if tagged(cell, "type-along") else ""
        top = [text_block(self.lead, "small")] if 0 < len(plain(self.lead)) <= LONGEST else []
        self.lead = ""
        room = ROOM - sum(block.height for block in top)
        size = best_size([source, printed], room) if printed else best_size([source], room)
        if images and not printed and size and len(source.splitlines()) <= SHORT_CODE:
            _, scale = self.figure(index, 0, images[0], room - code_height(source, size))
            if scale < SMALLEST_FIGURE:
                self.said.append(f"The code of the figure:\n\n```\n{source}\n```")
                source = ""
        host = self.host if self.host is self.stacks[-1][-1] else None
        if not source:
            slide = self.add(Slide(self.section, tag=tag))
        elif printed and host and (best_size([source, printed], host.room) or 0) >= SMALLEST_BESIDE_POINTS:
            slide, size = host, best_size([source, printed], host.room)
            slide.blocks += [code_block(source, size), code_block(printed, size, "output")]
            slide.notes, self.said, slide.tag = [*slide.notes, *self.said], [], tag
        elif printed and size:
            blocks = [code_block(source, size), code_block(printed, size, "output")]
            slide = self.add(Slide(self.section, [*top, *blocks], tag=tag))
        else:
            slide = self.add(Slide(self.section, [*top, *code_blocks(source, room)], tag=tag))
            for page in output_pages(printed) if printed else []:
                block = code_block(page, best_size([page], ROOM) or CODE_SIZES[-1], "output")
                slide = self.add(Slide(self.section, [block], tag="its output"))
        for number, encoded in enumerate(images):
            block, scale = self.figure(index, number, encoded, slide.room)
            if scale < SMALLEST_FIGURE and slide.blocks:
                block, _ = self.figure(index, number, encoded, ROOM)
                slide = self.add(Slide(self.section))
            slide.blocks.append(block)

    def figure(self, index: int, number: int, encoded: str, room: float) -> tuple[Block, float]:
        """One figure of code cell `index` and the scale at which it fits into `room`."""
        file = f"{self.name}-{index}-{number}.png"
        self.figures[file] = encoded
        return figure_block(encoded, f"figures/{file}", figure_text(self.notebook, index, self.name), max(room, 100))

    def exercise(self, cell) -> None:
        heading, parts = self.task or (self.section, [])
        self.task, self.lead = None, ""
        blocks = [block for kind, text in parts for block in blocks_of(kind, text)]
        source = TEST_MARK.sub("", cell.source).strip("\n")
        room = ROOM - sum(block.height for block in blocks)
        self.add(Slide(heading, [*blocks, *code_blocks(source, max(room, 200))], kind="task"))

    def hints(self, cell) -> None:
        for name, text in DETAILS.findall(cell.source):
            self.stacks[-1][-1].notes.append(f"**{name}**\n\n{text.strip()}")

    def quiz(self, text: str) -> None:
        questions = re.split(r"^\*\*(?=\d+\. )", text, flags=re.M)[1:]
        for number, question in enumerate(questions, start=1):
            asked, _, options = question.partition("**\n")
            asked = re.sub(r"^\d+\.\s+", "", " ".join(asked.split()))
            blocks = [text_block(f"**{asked}**", "middle")]
            pairs = zip("ABCDEF", DETAILS.findall(options), strict=False)
            blocks += [option_block(letter, option, why) for letter, (option, why) in pairs]
            self.add(Slide(f"Quiz {number}", blocks, kind="quiz"), number == 1)

    def end(self, cell) -> None:
        """The last cell: what comes next and the licence; in some lessons the further reading stands in it too."""
        parts = parts_of(cell.source)
        if parts[0][0] == "heading":
            items = [item for kind, text in parts if kind == "bullet_list" for item in items_of(text)]
            self.add(Slide(parts[0][1].lstrip("# "), list_blocks(items), kind="section"), True)
        last = [text_block(text, "middle") for kind, text in parts if kind == "paragraph"]
        self.add(Slide("That was it", last, kind="section short"), True)


def make_deck(notebook, name: str) -> Deck:
    """The slides of one executed learner's notebook; SiteError names the notebook when it is not a lesson."""
    cells = notebook.cells
    if not cells or not cells[0].source.startswith("# "):
        raise SiteError(f"{name}: the first cell of a lesson starts with its title, '# 02 · Title'")
    deck = Deck(notebook, name)
    deck.title(cells[0])
    starts = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and "## Quiz" in cell.source]
    after = [i for i, cell in enumerate(cells) if cell.source.startswith("## Further reading")]
    quiz = range(starts[0], after[0] if after else len(cells) - 1) if starts else range(0)
    after_code = False
    for index, cell in enumerate(cells[1:-1], start=1):
        if index in quiz:
            if index == quiz[0]:
                deck.quiz("\n\n".join(cells[i].source for i in quiz))
        elif cell.cell_type == "code":
            if tagged(cell, "exercise"):
                deck.exercise(cell)
            elif not tagged(cell, "setup"):  # the same in every lesson, and nothing to look at
                deck.code(cell, index)
        elif tagged(cell, "hints"):
            deck.hints(cell)
        else:
            deck.prose(cell, after_code)
        after_code = cell.cell_type == "code" and not tagged(cell, "setup") and not tagged(cell, "exercise")
    deck.end(cells[-1])
    return deck
