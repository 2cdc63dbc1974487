"""The surrogate of the transfer suite: the network on which its examples are crafted."""

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
    """A checkpoint, the same for every attacked network.

    Attributes
    ----------
    path : str
    sha256 : str
        Hash of the file.
    """

    path: str
    sha256: str

    def network(self) -> nn.Module:
        """Load the network, on the CPU."""
        return load_network(Path(self.path)).net

    def describe(self) -> dict[str, str]:
        """Return what a record states about it: file name and hash."""
        return {"file": Path(self.path).name, "sha256": self.sha256}


def surrogate_for(recipe: VerifyRecipe, data: DataSet, path: Path | None) -> Surrogate | None:
    """Return the surrogate of a file, checked against the recipe's suite and the data.

    Raises
    ------
    UsageError
        If the suite needs a surrogate and there is none, or the reverse.
    CheckpointError
        If the file is not a checkpoint, or is for other images or classes.
    """
    require_surrogate(recipe.suite, path)
    if path is None:
        return None
    require_for(load_network(path), path, data.test.identity)
    return Surrogate(str(path), sha256_file(path))
