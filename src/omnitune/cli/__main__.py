"""`python -m omnitune.cli`."""

from omnitune.cli import main

main()
