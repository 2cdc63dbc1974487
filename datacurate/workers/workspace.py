"""The workspace of unfinished work: a folder that one process holds, for one recipe and its data.

It holds the recipe as requested and as resolved, and what the units save. The same command
continues from it; work with another recipe or other data is refused.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datacurate.errors import StateError
from datacurate.outputs import only_writer, write_json
from datacurate.recipes import as_dict, differences, from_dict
from datacurate.recipes.settings import Recipe

_MARK = "claim.json"
_LOCK = "lock"
_KERNELS = "kernels.json"


def is_unfinished(workspace: Path) -> bool:
    """Return whether a folder holds unfinished work."""
    return (workspace / _MARK).exists()


def requested_recipe(workspace: Path, kind: type[Recipe]) -> Recipe | None:
    """Return the recipe that the unfinished work was started with, or None if there is none."""
    return _saved_recipe(workspace, kind, "recipe")


def resolved_recipe(workspace: Path, kind: type[Recipe]) -> Recipe | None:
    """Return the resolved recipe of the unfinished work, or None if there is none."""
    return _saved_recipe(workspace, kind, "resolved")


def kernel_trials(workspace: Path) -> dict[str, Any] | None:
    """Return what the kernel trials of the unfinished work gave, or None if none were made."""
    path = workspace / _KERNELS
    if not path.exists():
        return None
    trials: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return trials


def _saved_recipe(workspace: Path, kind: type[Recipe], which: str) -> Recipe | None:
    if not is_unfinished(workspace):
        return None
    return from_dict(kind, json.loads((workspace / _MARK).read_text(encoding="utf-8"))[which])


@contextlib.contextmanager
def open_workspace(
    workspace: Path,
    requested: Recipe,
    resolved: Recipe,
    work: Mapping[str, Any],
    out: Path,
    *,
    force: bool,
    kernels: Mapping[str, Any] | None = None,
) -> Iterator[Recipe]:
    """Hold a workspace for the length of a block, and remove it if the block succeeds.

    The first process to open it writes down the resolved recipe. Later ones read it back, so
    that resumed work continues with the same threads and kernels.

    Parameters
    ----------
    workspace : Path
        The folder; created if missing.
    requested : ProfileRecipe or VerifyRecipe
        As the user asked for it.
    resolved : ProfileRecipe or VerifyRecipe
        With every open field decided.
    work : mapping
        What else the result depends on, as JSON values: fingerprints of the data.
    out : Path
        The result, for messages.
    force : bool
        Delete what the folder holds.
    kernels : mapping, optional
        What the kernel trials gave, as JSON values; kept for the provenance of the result.

    Yields
    ------
    ProfileRecipe or VerifyRecipe
        The resolved recipe: that of the unfinished work where there is some.

    Raises
    ------
    OutputBusyError
        If another process holds the workspace.
    StateError
        If it holds unfinished work of another recipe or other data, or foreign files.
    """
    _refuse_foreign_files(workspace)
    workspace.mkdir(exist_ok=True)
    with only_writer(workspace / _LOCK, str(out)):
        if force:
            _clear(workspace)
        try:
            if is_unfinished(workspace):
                recipe = _continue(workspace, requested, work, out)
            else:
                recipe = _begin(workspace, requested, resolved, work, kernels)
            yield recipe
        except BaseException:
            if not is_unfinished(workspace):
                shutil.rmtree(workspace)
            raise
        shutil.rmtree(workspace)


def _begin(
    workspace: Path,
    requested: Recipe,
    resolved: Recipe,
    work: Mapping[str, Any],
    kernels: Mapping[str, Any] | None,
) -> Recipe:
    if kernels is not None:
        write_json(workspace / _KERNELS, kernels)
    mark = {"recipe": as_dict(requested), "work": dict(work), "resolved": as_dict(resolved)}
    write_json(workspace / _MARK, mark)
    return resolved


def _continue(workspace: Path, requested: Recipe, work: Mapping[str, Any], out: Path) -> Recipe:
    saved = json.loads((workspace / _MARK).read_text(encoding="utf-8"))
    changes = differences(
        {key: saved[key] for key in ("recipe", "work")},
        {"recipe": as_dict(requested), "work": dict(work)},
    )
    changes = [change for change in changes if not change.startswith("recipe.summary:")]
    if changes:
        raise StateError(
            f"{workspace} holds unfinished work of another recipe or other data for {out}",
            got="; ".join(changes),
            hint="repeat the command of the unfinished work, or pass --force to start anew",
        )
    return from_dict(type(requested), saved["resolved"])


def _refuse_foreign_files(workspace: Path) -> None:
    """Raise if a folder that will be removed holds files that datacurate did not write."""
    if not workspace.exists() or is_unfinished(workspace):
        return
    # Work killed before its mark was written leaves a lock, kernel trials, or half a file.
    entries = workspace.iterdir() if workspace.is_dir() else iter([workspace])
    foreign = sorted(
        path.name
        for path in entries
        if path.name not in (_LOCK, _KERNELS) and path.suffix != ".part"
    )
    if foreign:
        raise StateError(
            f"unfinished work would be kept in {workspace}, which holds other files",
            expected="no such folder, or one with unfinished work",
            got=", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else ""),
            hint="move it away, or choose another --out",
        )


def _clear(workspace: Path) -> None:
    for path in workspace.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
