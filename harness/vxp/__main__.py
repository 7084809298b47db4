"""`python -m vxp` is the same command as `vxp`."""

from vxp.cli import main

main()
