"""`python -m undrift` is the command `undrift`."""

from __future__ import annotations

from undrift.cli.main import main

main()
