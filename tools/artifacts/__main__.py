"""Make and check the ranks that come with the package.

    python -m tools.artifacts make digits
    python -m tools.artifacts make cifar10-proxy --ranks cifar10.ranks.h5 --upstream prob_rank.npy
    python -m tools.artifacts check

Without ``--ranks`` the rank file is profiled in ``build/artifacts``; run the same command again to
continue an interrupted profile. Without ``--upstream``, `make` fetches the authors' ranks and
`check` does not recompute the agreement with them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from datacurate.errors import DatacurateError
from datacurate.publishing.agreement import load_published
from tools.artifacts.assembly import SPECS, ArtifactSpec, make_artifact
from tools.artifacts.checks import check_artifacts

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "artifacts"
WORK = ROOT / "build" / "artifacts"
COMPARED_WITH = "cifar10"


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        description="Make and check the ranks that come with the package."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser(
        "make", help="profile, then write the folder and registry entry of an artifact"
    )
    make.add_argument("name", choices=SPECS)
    make.add_argument("--ranks", type=Path, help="use this finished rank file; do not profile")
    make.add_argument("--data", type=Path, help="the place of the images, for profiling")
    check = commands.add_parser("check", help="recompute everything; exit 1 if anything differs")
    for command in (make, check):
        command.add_argument("--upstream", type=Path, help="a copy of the authors' prob_rank.npy")
    options = parser.parse_args()
    try:
        return _check(options.upstream) if options.command == "check" else _make(options)
    except DatacurateError as error:
        print(error, file=sys.stderr)
        return 1


def _make(options: argparse.Namespace) -> int:
    spec = SPECS[options.name]
    other = None
    if spec.compared_with:
        other = load_published(spec.compared_with, options.upstream, tell=print)
    ranks = options.ranks or _profile(spec, options.data)
    entry = make_artifact(ranks, spec, ARTIFACTS, published=other)
    print(f"{ARTIFACTS / spec.name}: content sha256 {entry.content_sha256}")
    return 0


def _profile(spec: ArtifactSpec, data: Path | None) -> Path:
    from datacurate.profiling import workspace_of
    from datacurate.workers.workspace import is_unfinished

    WORK.mkdir(parents=True, exist_ok=True)
    out = WORK / f"{spec.name}.ranks.h5"
    if not out.exists() or is_unfinished(workspace_of(out)):
        arguments = ["profile", spec.dataset, "--recipe", spec.recipe, "--parallel", "2"]
        arguments += ["--out", str(out)]
        arguments += ["--data", str(data)] if data else []
        subprocess.run([sys.executable, "-m", "datacurate", *arguments], check=True)
    return out


def _check(upstream: Path | None) -> int:
    other = load_published(COMPARED_WITH, upstream) if upstream else None
    checks = check_artifacts(ARTIFACTS, other)
    for name, results in checks.items():
        for each in results:
            print(f"{name}: {'ok' if each.ok else 'WRONG'}: {each.name}: {each.detail}")
    return 0 if all(each.ok for results in checks.values() for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
