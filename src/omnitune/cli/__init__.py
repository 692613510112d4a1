"""The command line. A command is imported only when it runs; what the user can mend is one message and exit code 2.

Exit codes: 0 done; 1 a figure is outside the range that `expect` names, or something failed; 2 a mistake in what was given; 130 and 143
stopped by SIGINT and SIGTERM, with the state of a run saved.
"""

import sys

from omnitune.cli import training, asking, looking  # isort: skip  # the order in which --help lists their commands
from omnitune.cli.app import app

__all__ = ["app", "asking", "looking", "main", "training"]


def main() -> None:
    """The `omnitune` program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a letter shows another
    app()
