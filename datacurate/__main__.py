"""``python -m datacurate`` is ``datacurate``."""

from datacurate.cli import main

main()
