"""Print the line coverage of the last test run, folder by folder: ``python -m tools.coverage``."""

from __future__ import annotations

import io
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import coverage

PACKAGE = "datacurate"


def main() -> None:
    """Print a line for each folder of the package, and the total."""
    data = coverage.Coverage()
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        data.json_report(outfile=str(report), ignore_errors=True)
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    print(summarize(files), end="")


def summarize(files: dict[str, dict[str, dict[str, int]]]) -> str:
    """Return lines of folder, covered statements, statements and percentage."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, report in files.items():
        summary = report["summary"]
        for folder in (_folder(name), "total"):
            counts[folder][0] += summary["covered_lines"]
            counts[folder][1] += summary["num_statements"]
    lines = io.StringIO()
    for folder in sorted(counts, key=lambda folder: (folder == "total", folder)):
        covered, statements = counts[folder]
        share = 100 * covered / max(1, statements)
        lines.write(f"{folder:32} {covered:6,} of {statements:6,} lines  {share:5.1f} %\n")
    return lines.getvalue()


def _folder(name: str) -> str:
    parts = Path(name).parts
    inside = parts[parts.index(PACKAGE) + 1 :]
    return inside[0] + "/" if len(inside) > 1 else "(top level)"


if __name__ == "__main__":
    main()
