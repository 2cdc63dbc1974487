"""The folder of an unfinished work: one process at a time, and never another work's state."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from datacurate.errors import StateError
from datacurate.outputs import only_writer, write_json
from datacurate.recipes import as_dict, differences, from_dict
from datacurate.recipes.settings import Recipe

_CLAIM = "claim.json"


def has_claim(state: Path) -> bool:
    """Return whether a folder holds the state of an unfinished work."""
    return (state / _CLAIM).exists()


def requested_before(state: Path, kind: type[Recipe]) -> Recipe | None:
    """Return the recipe that was asked for of the work in a folder, or None if there is none."""
    return _claimed_recipe(state, kind, "recipe")


def resolved_before(state: Path, kind: type[Recipe]) -> Recipe | None:
    """Return the resolved recipe of the work in a folder, or None if there is none."""
    return _claimed_recipe(state, kind, "resolved")


def _claimed_recipe(state: Path, kind: type[Recipe], which: str) -> Recipe | None:
    if not has_claim(state):
        return None
    return from_dict(kind, json.loads((state / _CLAIM).read_text(encoding="utf-8"))[which])


@contextlib.contextmanager
def claimed(
    state: Path,
    requested: Recipe,
    work: Mapping[str, Any],
    resolve: Callable[[Recipe], Recipe],
    out: Path,
    force: bool,
) -> Iterator[Recipe]:
    """Hold a state folder for the length of a block; remove it if the block succeeds.

    What a recipe leaves to the machine is decided when the folder is first claimed and read back
    from it ever after, so that resumed work goes on with the same threads and kernels.

    Parameters
    ----------
    state : Path
        The folder; made if missing.
    requested : ProfileRecipe or VerifyRecipe
        As asked for.
    work : mapping
        What else the result depends on, in JSON values: fingerprints of the data.
    resolve : callable
        Gives the recipe with nothing left to the machine or the data.
    out : Path
        The result that it leads to, for the messages.
    force : bool
        Forget what the folder holds.

    Yields
    ------
    ProfileRecipe or VerifyRecipe
        The resolved recipe.

    Raises
    ------
    OutputBusyError
        If another process holds the folder.
    StateError
        If it holds the state of other work, or what was not left there by a work at all.
    """
    _refuse_foreign(state)
    state.mkdir(exist_ok=True)
    with only_writer(state / "lock", str(out)):
        if force:
            _clear(state)
        try:
            yield _claim(state, requested, work, resolve, out)
        except BaseException:
            if not has_claim(state):
                shutil.rmtree(state)
            raise
        shutil.rmtree(state)


def _claim(
    state: Path,
    requested: Recipe,
    work: Mapping[str, Any],
    resolve: Callable[[Recipe], Recipe],
    out: Path,
) -> Recipe:
    claim = {"recipe": as_dict(requested), "work": dict(work)}
    if not has_claim(state):
        full = resolve(requested)
        write_json(state / _CLAIM, {**claim, "resolved": as_dict(full)})
        return full
    saved = json.loads((state / _CLAIM).read_text(encoding="utf-8"))
    changes = differences({key: saved[key] for key in claim}, claim)
    changes = [change for change in changes if not change.startswith("recipe.summary:")]
    if changes:
        raise StateError(
            f"{out} has unfinished work of another recipe or other data in {state}",
            got="; ".join(changes),
            hint="ask for the same again to go on with it, or pass --force to start anew",
        )
    return from_dict(type(requested), saved["resolved"])


def _refuse_foreign(state: Path) -> None:
    """Raise if a folder that will be removed holds what a work did not leave there."""
    if not state.exists() or has_claim(state):
        return
    # Killed before its claim was written, a work leaves its lock, its kernels, half a file.
    left = state.iterdir() if state.is_dir() else iter([state])
    own = ("lock", "kernels.json")
    foreign = sorted(path.name for path in left if path.name not in own and path.suffix != ".part")
    if foreign:
        raise StateError(
            f"{state} is where unfinished work would be kept, and holds something else",
            expected="no such folder, or one with unfinished work",
            got=", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else ""),
            hint="move it away, or choose another --out",
        )


def _clear(state: Path) -> None:
    for path in state.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
