"""A small made-up lesson with everything a page or a deck has to cope with, for test_site.py and test_slides.py."""

import base64
import struct
import zlib

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SENTENCE = "Two bars, `a` and *b*; the **dots** are seeds."
EXERCISE = "We keep it simple. **Exercise 09.1: Double it.** Return twice the number."
HINTS = """\
<details><summary>Hint 1</summary>

Add it to itself.

</details>

<details><summary>Solution</summary>

```python
y = 2 * x
```

</details>"""
QUIZ = """\
## Quiz

**1. What is 1 + 1?**

<details><summary>Two</summary>

Right. Count them.

</details>

<details><summary>Three</summary>

No. One too many.

</details>"""


def png(width: int = 600, height: int = 300) -> str:
    """A grey picture as base64."""
    rows = zlib.compress((b"\0" + b"\x88" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


def printed(text: str):
    return [new_output("stream", name="stdout", text=text)]


def figure(**size):
    return [new_output("display_data", data={"image/png": png(**size), "text/plain": "<Figure>"})]


def code(source: str, outputs=(), tags=(), count=1):
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata={"tags": list(tags)})


def lesson(more=()):
    """The notebook; `more` cells go before the quiz."""
    text = new_markdown_cell
    return new_notebook(
        metadata={"language_info": {"name": "python", "mimetype": "text/x-python"}},
        cells=[
            text("# 09 · Tiny\n\nMeasured: about 5 s on two CPU cores (profile mini)\n\nA lesson about numbers."),
            text("## What you will be able to do\n\n- **add**\n- **double**\n- **judge**"),
            code("import tlhelpers as tl\ncourse = tl.start(seed=0)", tags=["setup"]),
            text("## 1 · Numbers\n\nA number can be printed.\n\n**Predict:** which one will it be?"),
            code("# NBVAL_CHECK_OUTPUT\nprint(6 * 7)", printed("42\n"), ["type-along"], 2),
            text("It was forty-two, as everybody in the room had guessed in the end. The rest is said, not shown."),
            code("plot(values)\nplt.show()", figure(), count=3),
            text(f"*What the figure shows:* {SENTENCE}\n\nThe bars differ by less than the dots do."),
            text(EXERCISE),
            code('y = ...\ntl.check("09.1", y)', printed("[..] not attempted\n"), ["exercise"], 4),
            text(HINTS, metadata={"tags": ["hints"]}),
            *more,
            text("## Take-aways\n\n- Numbers are printed.\n- Doubling is adding."),
            text(QUIZ, metadata={"tags": ["quiz"]}),
            text("## Further reading\n\n- [A page](https://example.org/page)"),
            text("*Next: lesson 10.*\n\nText: CC BY 4.0. Code: MIT."),
        ],
    )
