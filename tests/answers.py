"""Ask the check of an exercise about an answer; what the tests of all checks share."""

from tlhelpers.checks import CheckResult, check


def result(number: str, *answers: object) -> CheckResult:
    """What the check found; its message is one line."""
    found = check(number, *answers)
    assert found.message and "\n" not in found.message
    return found


def assert_wrong(number: str, mistake: str, *answers: object) -> None:
    """The check says wrong, and its message names the mistake."""
    found = result(number, *answers)
    assert found.state == "wrong", found
    assert mistake in found.message, found
