"""A stand-in for Colab's own package, for scripts/colab_check.py: the same names, folders instead of Google's services.

Source of the names: https://github.com/googlecolab/colabtools (google/colab/).
"""

from google.colab import drive, files, output

__all__ = ["drive", "files", "output"]
