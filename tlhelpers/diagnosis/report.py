"""What the training doctor says: a diagnosis by name, where it was seen, and all of them in a list, the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from textwrap import fill

# the worst first: it stops the training or makes the result wrong; it probably costs accuracy; good to know
SEVERITIES = ("error", "warning", "note")
PAGE = "docs/troubleshooting.md"
WIDTH = 110  # characters of a printed line


@dataclass(frozen=True)
class Diagnosis:
    """One mistake the doctor knows, in words that hold for every case of it.

    >>> asleep = Diagnosis("asleep", "note", "the learner sleeps", "Nobody learns asleep.", "coffee()", "lesson 00")
    >>> asleep.found("eyes closed").fix
    'coffee()'
    """

    code: str  # its name, and its heading on the troubleshooting page: "not-normalized"
    severity: str  # one of SEVERITIES
    title: str  # what is wrong, half a sentence
    why: str  # why it hurts, a sentence or two
    fix: str  # one line of code, or one short instruction where code cannot do it
    lesson: str  # where the course teaches it: "lesson 03, section 1"

    def found(self, seen: str, fix: str | None = None) -> Finding:
        """Return the finding for a place where it was seen; `fix` when the general one can be made more exact."""
        return Finding(self, seen, fix or self.fix)


@dataclass(frozen=True)
class Finding:
    """A diagnosis in one particular set-up.

    >>> asleep = Diagnosis("asleep", "note", "the learner sleeps", "Nobody learns asleep.", "coffee()", "lesson 00")
    >>> print(asleep.found("eyes closed"))
    NOTE     asleep: the learner sleeps
             seen: eyes closed
             why:  Nobody learns asleep.
             fix:  coffee()
             more: lesson 00; docs/troubleshooting.md#asleep
    """

    diagnosis: Diagnosis
    seen: str  # the numbers and names of this case
    fix: str

    @property
    def code(self) -> str:
        """The diagnosis by its name."""
        return self.diagnosis.code

    @property
    def severity(self) -> str:
        """One of "error", "warning", "note"."""
        return self.diagnosis.severity

    def __str__(self) -> str:
        known, margin = self.diagnosis, " " * 9
        rows = {"seen": self.seen, "why": known.why, "fix": self.fix}
        rows["more"] = f"{known.lesson}; {PAGE}#{self.code}"
        lines = [f"{self.severity.upper():9}{self.code}: {known.title}"]
        for name, text in rows.items():
            lead = f"{margin}{name + ':':6}"
            lines.append(fill(text, WIDTH, initial_indent=lead, subsequent_indent=" " * 15, break_long_words=False))
        return "\n".join(lines)


@dataclass(frozen=True)
class Report:
    """What the doctor found, the worst first. It shows itself as a table in a notebook, as text when printed.

    >>> asleep = Diagnosis("asleep", "note", "the learner sleeps", "Nobody learns asleep.", "coffee()", "lesson 00")
    >>> report = Report((asleep.found("eyes closed"),), looked_at=("eyes",))
    >>> report.codes, "asleep" in report, len(report), report.worst
    (['asleep'], True, 1, 'note')
    """

    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...] = ()  # names of the examinations that were made
    skipped: tuple[str, ...] = ()  # examinations that could not be made, each with the reason
    not_possible: int = 0  # how many of these failed, although what they look at was given

    def __post_init__(self) -> None:
        worst_first = sorted(self.findings, key=lambda finding: SEVERITIES.index(finding.severity))
        object.__setattr__(self, "findings", tuple(worst_first))

    @property
    def codes(self) -> list[str]:
        """The names of the diagnoses, the worst first."""
        return [finding.code for finding in self.findings]

    @property
    def worst(self) -> str | None:
        """The highest severity among the findings; None when there are none."""
        return self.findings[0].severity if self.findings else None

    def __contains__(self, code: str) -> bool:
        return code in self.codes

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __bool__(self) -> bool:
        return True  # an empty report is a report; ask for len(report) or report.worst

    def __getitem__(self, code: str) -> Finding:
        """Return the first finding of this name; KeyError when there is none."""
        for finding in self.findings:
            if finding.code == code:
                return finding
        raise KeyError(code)

    def _first_line(self) -> str:
        if not self.findings and self.not_possible:
            left = f"{self.not_possible} examination{'s' * (self.not_possible > 1)} could not be made"
            looked = f" Looked at: {', '.join(self.looked_at)}." if self.looked_at else ""
            return f"The doctor found nothing wrong in what it could look at; {left} (see below).{looked}"
        if not self.findings:
            return f"The doctor found nothing wrong. Looked at: {', '.join(self.looked_at)}."
        counts = [f"{n} {name}{'s' if n > 1 else ''}" for name in SEVERITIES if (n := self._count(name))]
        order = ", the worst first" if len(self.findings) > 1 else ""
        return f"The doctor found {', '.join(counts)}{order}."

    def _count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def _last_lines(self) -> list[str]:
        return [f"Not looked at: {reason}" for reason in self.skipped]

    def __str__(self) -> str:
        first, last = fill(self._first_line(), WIDTH), [fill(line, WIDTH) for line in self._last_lines()]
        return "\n\n".join([first, *map(str, self.findings), *last])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same as a table: what a notebook shows."""
        lines = [f"<p>{escape(text)}</p>" for text in self._last_lines()]
        if not self.findings:
            return "".join([f"<p>{escape(self._first_line())}</p>", *lines])
        cell = 'style="text-align:left; vertical-align:top"'
        heads = "".join(f'<th scope="col" {cell}>{name}</th>' for name in ("", "what", "why it hurts", "fix"))
        rows = "".join(_row(finding, cell) for finding in self.findings)
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        page = f"<p>Each name is explained in <code>{PAGE}</code>.</p>"
        return "".join([f"<p>{escape(self._first_line())}</p>", table, page, *lines])


def is_code(fix: str) -> bool:
    """Whether a fix is Python that can be pasted, and not a sentence.

    >>> is_code("tl.train_mode(model)"), is_code("keep one of the two")
    (True, False)
    """
    try:
        compile(fix, "fix", "exec")
    except SyntaxError:
        return False
    return True


def _row(finding: Finding, cell: str) -> str:
    known = finding.diagnosis
    what = f"<b>{escape(known.title)}</b><br>{escape(finding.seen)}"
    why = f"{escape(known.why)}<br><small>{escape(known.lesson)}; <code>{escape(finding.code)}</code></small>"
    fix = escape(finding.fix)
    if is_code(finding.fix):  # it may break anywhere: otherwise a long line takes the room of the other columns
        fix = f'<code style="overflow-wrap:anywhere; white-space:normal">{fix}</code>'
    columns = (f"<b>{finding.severity}</b>", what, why, fix)
    return "<tr>" + "".join(f"<td {cell}>{column}</td>" for column in columns) + "</tr>"
