"""Python reads this file when it starts. On Colab google.colab is there before the first cell runs; here too, then."""

import google.colab  # noqa: F401
