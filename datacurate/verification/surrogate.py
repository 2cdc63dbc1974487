"""The network for which the suite of transferred examples makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from datacurate.attacks.validation import require_surrogate
from datacurate.data import DataSet
from datacurate.fingerprints import sha256_file
from datacurate.recipes import VerifyRecipe
from datacurate.training.checkpoints import load_network, require_for


@dataclass(frozen=True)
class Surrogate:
    """A checkpoint, the same for every member.

    Attributes
    ----------
    path : str
    sha256 : str
        Of the file.
    """

    path: str
    sha256: str

    def network(self) -> nn.Module:
        """Return its network, on the CPU."""
        return load_network(Path(self.path)).net

    def about(self) -> dict[str, str]:
        """Return what a record says of it."""
        return {"file": Path(self.path).name, "sha256": self.sha256}


def surrogate_for(recipe: VerifyRecipe, data: DataSet, path: Path | None) -> Surrogate | None:
    """Return the surrogate in a file, checked against the recipe's suite and the data.

    Raises
    ------
    UsageError
        If the suite needs one and there is none, or the other way round.
    CheckpointError
        If the file is no checkpoint, or one for other images or classes.
    """
    require_surrogate(recipe.suite, path)
    if path is None:
        return None
    require_for(load_network(path), path, data.test.identity)
    return Surrogate(str(path), sha256_file(path))
