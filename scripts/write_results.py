"""Write docs/results.md from the finished runs in docs/measured/: one section for each script, and the bench.

python scripts/write_results.py            write the page
python scripts/write_results.py --check    write nothing; fail when the page does not belong to the runs
"""

import argparse
import importlib
import sys

from measuring import ROOT, Runs

sys.path.append(str(ROOT / "benchmarks"))

PAGE = ROOT / "docs" / "results.md"
# each has NAME (of its runs) and section(runs) -> the markdown of its section, heading included
SCRIPTS = ["measure_map", "measure_regularisation", "measure_project", "measure_leaderboard", "bench"]
INTRODUCTION = """# Measured results

Every number on this page comes from a run of a script in `scripts/` or `benchmarks/`; the runs themselves are kept in
`docs/measured/`. `make results` repeats what is missing there and writes this page; `make bench` measures the last
section anew. Accuracies are in per cent, as mean ± standard deviation over the seeds. Images and networks are the
bundled ones (profile `mini`), so the numbers are good for comparing strategies with each other, not for comparing with
published figures on real photographs.
"""


def page() -> str:
    parts = [INTRODUCTION]
    for name in SCRIPTS:
        script = importlib.import_module(name)
        runs = Runs(script.NAME)
        if runs.runs:
            parts.append(f"{script.section(runs.runs).strip()}\n\nMeasured on: {runs.content['machine']}.\n")
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    wanted = page()
    if not parser.parse_args(arguments).check:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    print("docs/results.md does not belong to docs/measured/: python scripts/write_results.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
