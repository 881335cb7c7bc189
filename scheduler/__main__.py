"""``python -m scheduler``: the command line, for clusters where the package is not installed."""

from scheduler.cli.main import main

main()
