"""Words and bars on a PIL image: a picture that has to follow a slider cannot wait for a plotting library."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont


@functools.cache
def font(size: int = 13, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib brings along, in so many pixels.

    >>> font(13).getname()[0]
    'DejaVu Sans'
    """
    import matplotlib

    file = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file), size)


def write(
    page: Image.Image, place: tuple[float, float], words: str, size: int = 13, bold: bool = False, anchor: str = "la"
) -> float:
    """Write a line of black words at (x, y) and return the x at their end.

    `anchor` is PIL's: "la" starts at the upper left, "lm" at the left, half way up, "mm" is centred, "rm" ends there.

    >>> page = Image.new("RGB", (100, 20), "white")
    >>> write(page, (2, 10), "head", anchor="lm") > 20
    True
    """
    ImageDraw.Draw(page).text(place, words, fill="black", font=font(size, bold), anchor=anchor)
    return place[0] + font(size, bold).getlength(words)


def fitted(words: str, width: float, size: int = 13, bold: bool = False) -> str:
    """Return the words, cut off with … where they are wider than so many pixels.

    >>> fitted("snapdragon", 1000), fitted("snapdragon", 40)[-1]
    ('snapdragon', '…')
    """
    if font(size, bold).getlength(words) <= width:
        return words
    while words and font(size, bold).getlength(f"{words}…") > width:
        words = words[:-1]
    return f"{words.rstrip()}…"


def bar(
    page: Image.Image, box: tuple[float, float, float, float], colour: str, hatch: str = "", pale: bool = False
) -> None:
    """Fill (left, top, right, bottom) with a colour; `hatch` "/", "x" or "." makes it known without colours as well.

    >>> page = Image.new("RGB", (20, 20), "white")
    >>> bar(page, (5, 5, 15, 15), "#000000")
    >>> page.getpixel((10, 10)), page.getpixel((2, 2))
    ((0, 0, 0), (255, 255, 255))
    """
    left, top, right, bottom = map(round, box)
    width, height = right - left, bottom - top
    if width < 1 or height < 1:
        return
    red, green, blue = ImageColor.getrgb(colour)
    fill = tuple(round(255 - 0.45 * (255 - part)) for part in (red, green, blue)) if pale else (red, green, blue)
    piece = Image.new("RGB", (width, height), fill)
    lines, ink = ImageDraw.Draw(piece), "white" if sum(fill) < 690 else "#777777"
    for start in range(-height, width + height, 7) if hatch in ("/", "x") else ():
        lines.line((start, height, start + height, 0), fill=ink)
        if hatch == "x":
            lines.line((start, 0, start + height, height), fill=ink)
    for x in range(2, width, 5) if hatch == "." else ():
        for y in range(2, height, 5):
            lines.rectangle((x, y, x + 1, y + 1), fill=ink)
    if ink != "white":  # white paper needs an outline
        lines.rectangle((0, 0, width - 1, height - 1), outline=ink)
    page.paste(piece, (left, top))
