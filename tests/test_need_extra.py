"""scripts/need_extra.py: what is installed, missing, or too old."""

from importlib.metadata import version

import need_extra
import pytest


def test_missing_and_too_old_packages_are_found():
    present = f"pytest>={version('pytest')}"
    assert need_extra.missing([present, "no-such-package-of-ours>=1", "pytest>=9999"]) == [
        "no-such-package-of-ours>=1",
        "pytest>=9999",
    ]


def test_the_test_tools_are_here_and_an_unknown_extra_is_an_error():
    assert need_extra.main("dev") == 0
    with pytest.raises(KeyError, match="sites"):
        need_extra.main("sites")
