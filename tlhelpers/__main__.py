"""`python -m tlhelpers`: is this computer ready for the course? Exit code 0 when it is, 1 when something blocks."""

import sys

from .environment import environment_check


def main() -> int:
    """Print one line per check and return the exit code."""
    lines = environment_check()
    for fine, name, message in lines:
        print(f"{'OK' if fine else '!!'}  {name + ':':<13}{message}")
    blocking = sum(not fine for fine, _, _ in lines)
    if blocking:
        print(f"\n{blocking} line{'s' if blocking > 1 else ''} marked !! must be settled before the course can run.")
        return 1
    print("\nReady. Open notebooks/00_start_here.ipynb.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
