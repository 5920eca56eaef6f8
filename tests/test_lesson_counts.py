"""What lesson_counts.py says when a lesson was not measured: the whole command, with the lesson's number."""

import json

import pytest
from lesson_counts import PlanError, read_course, read_sections

COMMAND = "python scripts/lesson_minutes.py --measure --only 09"


def test_a_lesson_that_was_not_measured_or_has_changed(tmp_path):
    source = tmp_path / "09_tiny.py"
    source.write_text("# %% [markdown]\n# # 09 · Tiny\n\n# %%\nprint(1)\n", encoding="utf-8")
    (tmp_path / "times.json").write_text("{}", encoding="utf-8")
    (tmp_path / "cells.json").write_text(json.dumps({"cells": {}}), encoding="utf-8")
    with pytest.raises(PlanError, match=f"make notebooks ONLY=09 TIMES=1, then {COMMAND}$"):
        read_course(tmp_path, tmp_path / "times.json", tmp_path / "cells.json")
    with pytest.raises(PlanError, match=f"measure again: {COMMAND}$"):
        read_sections(source, 60, [1.0, 2.0])
