"""Makes and checks the ranks that ship with the package.

    python -m tools.artifacts make digits
    python -m tools.artifacts make cifar10-proxy --ranks cifar10.ranks.h5 --upstream prob_rank.npy
    python -m tools.artifacts check

Without ``--ranks`` the rank file is profiled in ``build/artifacts``; interrupted, the same command
goes on. Without ``--upstream`` `make` fetches the authors' ranks, and `check` does without them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from datacurate.errors import DatacurateError
from datacurate.publishing.agreeing import published
from tools.artifacts.inspecting import inspect
from tools.artifacts.shipping import SPECS, ArtifactSpec, make

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "artifacts"
WORK = ROOT / "build" / "artifacts"
COMPARED_WITH = "cifar10"


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Make and check the ranks that ship.")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="profile and write an artifact's folder and entry")
    making.add_argument("name", choices=SPECS)
    making.add_argument("--ranks", type=Path, help="a finished rank file, instead of profiling")
    making.add_argument("--data", type=Path, help="where the images are, for profiling")
    checking = commands.add_parser("check", help="recompute everything; exit 1 if anything differs")
    for each in (making, checking):
        each.add_argument("--upstream", type=Path, help="a copy of the authors' prob_rank.npy")
    options = parser.parse_args()
    try:
        return _check(options.upstream) if options.command == "check" else _make(options)
    except DatacurateError as error:
        print(error, file=sys.stderr)
        return 1


def _make(options: argparse.Namespace) -> int:
    plan = SPECS[options.name]
    other = None
    if plan.compared_with:
        other = published(plan.compared_with, options.upstream, tell=print)
    ranks = options.ranks or _profiled(plan, options.data)
    entry = make(ranks, plan, ARTIFACTS, published=other)
    print(f"{ARTIFACTS / plan.name}: content sha256 {entry.content_sha256}")
    return 0


def _profiled(plan: ArtifactSpec, data: Path | None) -> Path:
    from datacurate.profiling import workspace_of
    from datacurate.workers.workspace import is_unfinished

    WORK.mkdir(parents=True, exist_ok=True)
    out = WORK / f"{plan.name}.ranks.h5"
    if not out.exists() or is_unfinished(workspace_of(out)):
        words = ["profile", plan.dataset, "--recipe", plan.recipe, "--parallel", "2"]
        words += ["--out", str(out)]
        words += ["--data", str(data)] if data else []
        subprocess.run([sys.executable, "-m", "datacurate", *words], check=True)
    return out


def _check(upstream: Path | None) -> int:
    other = published(COMPARED_WITH, upstream) if upstream else None
    found = inspect(ARTIFACTS, other)
    for name, checks in found.items():
        for each in checks:
            print(f"{name}: {'ok' if each.ok else 'WRONG'}: {each.name}: {each.detail}")
    return 0 if all(each.ok for checks in found.values() for each in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
