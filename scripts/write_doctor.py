"""Write what the training doctor can find into docs/troubleshooting.md: a heading for each diagnosis, and links.

python scripts/write_doctor.py            write the two parts between their markers
python scripts/write_doctor.py --check    write nothing; fail when the page does not belong to tlhelpers/diagnosis/
"""

import argparse
import sys
from textwrap import fill

from course_address import ROOT

sys.path.append(str(ROOT))
from tlhelpers.diagnosis import Diagnosis, known_diagnoses  # noqa: E402 - found after the line above
from tlhelpers.diagnosis.report import SEVERITIES, is_code  # noqa: E402

PAGE = ROOT / "docs" / "troubleshooting.md"
START, END = "<!-- made by scripts/write_doctor.py: start -->", "<!-- made by scripts/write_doctor.py: end -->"
MEANING = {
    "error": "Errors: it stops, or the result is wrong",
    "warning": "Warnings: it runs, and is probably not what you meant",
    "note": "Notes: good to know",
}


class PageError(Exception):
    """The page lacks the markers that this script writes between."""


def links(diagnoses: list[Diagnosis]) -> str:
    """A list of links to the headings, by severity."""
    lines = []
    for severity in SEVERITIES:
        lines += [f"{MEANING[severity]}:", ""]
        lines += [f"- [{d.code}](#{d.code}): {d.title}" for d in diagnoses if d.severity == severity]
        lines.append("")
    return "\n".join(lines)


def entry(diagnosis: Diagnosis) -> str:
    """The heading of a diagnosis with what it means, what to do, and where the course teaches it."""
    texts = [
        f"**{diagnosis.title[0].upper()}{diagnosis.title[1:]}.** {diagnosis.why}",
        f"**Do:** {code(diagnosis.fix)}",
        f"The course: {diagnosis.lesson}.",
    ]
    body = "\n\n".join(fill(text, 120, break_long_words=False, break_on_hyphens=False) for text in texts)
    return f"### {diagnosis.code}\n\n{body}\n"


def code(fix: str) -> str:
    """A fix that is code in backticks, as many as it takes; a sentence as it is."""
    if not is_code(fix):
        return f"{fix[0].upper()}{fix[1:]}."
    return f"`` {fix} ``" if "`" in fix else f"`{fix}`"


def written(text: str, diagnoses: list[Diagnosis]) -> str:
    """The page with the part between its markers made anew."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise PageError(f"{PAGE.name} needs the lines {START} and {END}, once each and in this order.")
    before, after = text.split(START)[0], text.split(END)[1]
    body = "\n".join([links(diagnoses), *map(entry, diagnoses)])
    return f"{before}{START}\n\n{body}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    check = parser.parse_args(arguments).check
    text = PAGE.read_text(encoding="utf-8")
    try:
        wanted = written(text, known_diagnoses())
    except PageError as error:
        print(error, file=sys.stderr)
        return 1
    if check and text != wanted:
        print(f"docs/{PAGE.name} does not list what the doctor says: python scripts/write_doctor.py", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
