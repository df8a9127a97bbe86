"""``python -m statewise``: the command line."""

from statewise.cli import main

main()
