"""What every notebook of the course keeps to, as functions that return the breaches found, in words.

build_notebooks.py reports them to the author, tests/test_notebooks.py fails on them. A rule looks at one executed
notebook; `solved` says whether it is the copy with the exercises solved.
"""

import json
import re
from statistics import median

ABSOLUTE_PATH = re.compile(r"(?<![\w.])(?:/(?:home|root|Users|tmp|var|private|opt|work)/|[A-Z]:\\)[\w.\-]*")
MEMORY_ADDRESS = re.compile(r"\b0x[0-9a-f]{8,}\b")
FENCED_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FIGURE_SENTENCE = "*What the figure shows:*"
LICENCE_WORDS = ("CC BY 4.0", "MIT")
# after "## ", in the order they stand; the sections of the lesson itself come before "Compare"
SECTIONS = ("What you will be able to do", "Compare", "Common mistakes", "Take-aways", "Quiz", "Further reading")

# around all questions of a quiz, below the cell that asks them with buttons
FOLD = "<details><summary>The same questions as text, with every answer</summary>"
# outputs that only a running kernel fills: a page would show an empty place where the picture or the text should be
LIVE = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")

MAX_SECONDS = {"06": 120, "07": 120, "08": 120}  # for a whole lesson, two CPU cores, profile mini; any other lesson:
MAX_SECONDS_ELSEWHERE = 60
MAX_PROSE_WORDS, MEDIAN_PROSE_WORDS = 150, (40, 60)
MAX_CODE_LINES, MEDIAN_CODE_LINES = 25, 6


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def tagged(cell, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def outputs_text(cell) -> str:
    """Everything a code cell printed or returned, images apart."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        parts += [json.dumps(v) for k, v in output.get("data", {}).items() if not k.startswith("image/")]
        parts += output.get("traceback", [])
    return "\n".join(parts)


def title(cell) -> str:
    """The first line of a cell, to name it in a message."""
    return next((line for line in cell.source.splitlines() if line.strip()), "(empty)")[:60]


def without_code(cell) -> str:
    return FENCED_CODE.sub("", cell.source)


def has_figure(cell) -> bool:
    return any(kind.startswith("image/") for output in cell.outputs for kind in output.get("data", {}))


def executed_in_order(notebook, solved) -> list[str]:
    counts = [cell.execution_count for cell in code_cells(notebook) if cell.source.strip()]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"not executed top to bottom: {counts}"]


def no_errors_or_warnings(notebook, solved) -> list[str]:
    found = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"error or stderr output: {title(cell)}")
    return found


def nothing_of_this_machine(notebook, solved) -> list[str]:
    found = []
    for cell in notebook.cells:
        text = cell.source + (outputs_text(cell) if cell.cell_type == "code" else "")
        found += [f"absolute path {match}: {title(cell)}" for match in ABSOLUTE_PATH.findall(text)]
        if cell.cell_type == "code":
            found += [f"memory address {match}: {title(cell)}" for match in MEMORY_ADDRESS.findall(outputs_text(cell))]
    return found


def lean_metadata(notebook, solved) -> list[str]:
    found = []
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernelspec is not python3")
    if "version" in notebook.metadata.get("language_info", {}):
        found.append("a Python version in the notebook metadata")
    if notebook.metadata.get("colab", {}).get("gpuType") != "T4" or notebook.metadata.get("accelerator") != "GPU":
        found.append("no Colab metadata asking for a GPU")
    for cell in notebook.cells:
        if "execution" in cell.metadata:
            found.append(f"timing metadata: {title(cell)}")
        if cell.get("attachments"):
            found.append(f"attachment: {title(cell)}")
    return found


def no_widget_is_kept(notebook, solved) -> list[str]:
    """A widget lives in its kernel. What a notebook keeps of it is a picture or text, and there must be one."""
    found = ["widget state in the notebook metadata"] if "widgets" in notebook.metadata else []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            data = output.get("data", {"text/plain": output.get("text", "")})
            found += [f"{kind} in the output of: {title(cell)}" for kind in LIVE if kind in data]
            if not set(data) - set(LIVE):
                found.append(f"an output with nothing to show: {title(cell)}")
    return found


def images_have_alt_text(notebook, solved) -> list[str]:
    found = []
    for cell in markdown_cells(notebook):
        text = without_code(cell)
        found += [f"image without alt text: {m}" for m in re.findall(r"!\[\s*\]\([^)]*\)", text)]
        tags = re.findall(r"<img\b[^>]*>", text)
        found += [f"image without alt text: {tag}" for tag in tags if not re.search(r'alt="[^"]+"', tag)]
    return found


def headings_in_order(notebook, solved) -> list[str]:
    levels = [
        (len(marks), text)
        for cell in markdown_cells(notebook)
        for marks, text in re.findall(r"^(#{1,6}) (.+)$", without_code(cell), re.MULTILINE)
    ]
    found = []
    if [level for level, _ in levels].count(1) != 1 or levels[0][0] != 1:
        found.append("there must be one top heading, the first")
    for (before, _), (level, text) in zip(levels, levels[1:], strict=False):
        if level > before + 1:
            found.append(f"a heading level is skipped before '{text}'")
    return found


def small_prose(notebook, solved) -> list[str]:
    """Word budget of the prose; hints, quiz and licence line have their own measure."""
    prose = [c for c in markdown_cells(notebook) if not tagged(c, "hints") and "<details>" not in c.source]
    words = {index: len(without_code(cell).split()) for index, cell in enumerate(prose)}
    found = [f"{n} words: {title(prose[i])}" for i, n in words.items() if n > MAX_PROSE_WORDS]
    low, high = MEDIAN_PROSE_WORDS
    if not low <= median(words.values()) <= high:
        found.append(f"the median prose cell has {median(words.values())} words, wanted {low} to {high}")
    return found


def small_code(notebook, solved) -> list[str]:
    cells = [cell for cell in code_cells(notebook) if not tagged(cell, "setup")]
    lines = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in cells]
    found = [f"{n} lines: {title(cell)}" for n, cell in zip(lines, cells, strict=True) if n > MAX_CODE_LINES]
    if median(lines) > MEDIAN_CODE_LINES:
        found.append(f"the median code cell has {median(lines)} lines, at most {MEDIAN_CODE_LINES}")
    return found


def prose_between_code(notebook, solved) -> list[str]:
    kinds = [cell.cell_type for cell in notebook.cells]
    runs = [i for i in range(len(kinds) - 2) if kinds[i : i + 3] == ["code"] * 3]
    return [f"three code cells in a row: {title(notebook.cells[i])}" for i in runs]


def figures_are_explained(notebook, solved) -> list[str]:
    """The first prose after a figure (hints of an exercise apart) has a sentence that says what it shows."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and has_figure(cell):
            after = [c for c in notebook.cells[index + 1 :] if c.cell_type == "markdown" and not tagged(c, "hints")]
            if not after or FIGURE_SENTENCE not in after[0].source:
                found.append(f"no '{FIGURE_SENTENCE}' after the figure of: {title(cell)}")
    return found


def has_its_sections(notebook, solved) -> list[str]:
    headings = [
        heading for cell in markdown_cells(notebook) for heading in re.findall(r"^## (.+)$", cell.source, re.MULTILINE)
    ]
    found = [f"the section '{name}' is missing" for name in SECTIONS if name not in headings]
    places = [headings.index(name) for name in SECTIONS if name in headings]
    if places != sorted(places):
        found.append(f"sections out of order, wanted {SECTIONS}")
    goals = next((c.source for c in markdown_cells(notebook) if SECTIONS[0] in c.source), "")
    bullets = len(re.findall(r"^- ", goals, re.MULTILINE))
    if not 3 <= bullets <= 5:
        found.append(f"{bullets} objectives, wanted 3 to 5")
    if not all(word in notebook.cells[-1].source for word in LICENCE_WORDS):
        found.append(f"the last cell is the licence line and names {' and '.join(LICENCE_WORDS)}")
    return found


def says_how_long(notebook, solved) -> list[str]:
    seconds = re.search(r"^Measured: about (\d+) s on two CPU cores \(profile mini\)$", notebook.cells[0].source, re.M)
    if not seconds:
        return ["no measured time under the title: make notebooks TIMES=1"]
    number = re.match(r"# (\d\d)", notebook.cells[0].source)
    limit = MAX_SECONDS.get(number[1] if number else "", MAX_SECONDS_ELSEWHERE)
    return [] if int(seconds[1]) <= limit else [f"takes {seconds[1]} s, at most {limit}"]


def quiz_explains(notebook, solved) -> list[str]:
    """Four to six questions ("**1. ...**"); every option is a <details> block that explains it.

    Below a cell tl.quiz("02"), which stands for them with buttons, all of them are folded into one.
    """
    start = next((i for i, c in enumerate(notebook.cells) if re.search(r"^## Quiz$", c.source, re.M)), None)
    if start is None:
        return ["no quiz"]
    call = next((i for i, c in enumerate(notebook.cells) if c.cell_type == "code" and "tl.quiz(" in c.source), None)
    if call is not None and not notebook.cells[call + 1].source.startswith(FOLD):
        return ["the questions are not folded into one cell below tl.quiz"]
    text = "\n".join(cell.source for cell in notebook.cells[start:]).split("## Quiz", 1)[1].split("\n## ", 1)[0]
    questions = re.split(r"^\*\*\d+\. ", text, flags=re.MULTILINE)[1:]
    found = [] if 4 <= len(questions) <= 6 else [f"{len(questions)} quiz questions, wanted 4 to 6"]
    for number, question in enumerate(questions, start=1):
        options = re.findall(r"<details>\s*<summary>(.+?)</summary>(.*?)</details>", question, re.DOTALL)
        if len(options) < 2 or not all(why.strip() for _, why in options):
            found.append(f"quiz question {number}: {len(options)} options in <details>, each needs an explanation")
    return found


def exercises_are_whole(notebook, solved) -> list[str]:
    """Each exercise has its check, hints and solution; the learner's copy is unsolved, the other one is right."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if re.search(r"^\s*# --- ", cell.source, re.MULTILINE):
            found.append(f"a marker line was left: {title(cell)}")
        if not tagged(cell, "exercise"):
            continue
        if "tl.check(" not in cell.source:
            found.append(f"no check: {title(cell)}")
        right = "[OK]" in outputs_text(cell)
        if right != solved:
            found.append(f"the check says {'right' if right else 'not right'}: {title(cell)}")
        hints = notebook.cells[index + 1].source if index + 1 < len(notebook.cells) else ""
        if len(re.findall(r"<summary>Hint \d", hints)) < 2:
            found.append(f"fewer than two hints: {title(cell)}")
        if ("<summary>Solution</summary>" in hints) == solved:
            found.append(f"the solution is {'repeated' if solved else 'missing'} below: {title(cell)}")
    return found


def leaves_the_environment_alone(notebook, solved) -> list[str]:
    # torchvision's old way to ask for weights; in timm it is the way
    old = r"^(?!.*\btimm\.).*pretrained\s*=\s*True"
    pattern = re.compile(rf"^\s*[!%]|pip install|{old}|os\.system", re.MULTILINE)
    return [f"magic, install or old call: {title(c)}" for c in code_cells(notebook) if pattern.search(c.source)]


RULES = [
    executed_in_order,
    no_errors_or_warnings,
    nothing_of_this_machine,
    lean_metadata,
    no_widget_is_kept,
    images_have_alt_text,
    headings_in_order,
    small_prose,
    small_code,
    prose_between_code,
    figures_are_explained,
    has_its_sections,
    says_how_long,
    quiz_explains,
    exercises_are_whole,
    leaves_the_environment_alone,
]


def breaches(notebook, solved: bool) -> list[str]:
    """Every breach of every rule in one notebook."""
    return [f"{rule.__name__}: {text}" for rule in RULES for text in rule(notebook, solved)]
