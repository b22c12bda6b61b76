"""`python -m rlvr` is the program `rlvr`."""

from rlvr.cli import main

main()
