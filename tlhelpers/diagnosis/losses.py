"""Being written."""

EXAMINATIONS = ()
