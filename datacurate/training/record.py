"""The per-example record of a training: at which epochs each example was correct under attack.

Dong et al. 2021, section 3.1 and appendix A: correctness is read from the training forward pass, so
it costs nothing, and each example counts exactly once an epoch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datacurate.errors import TrainingError
from datacurate.ranks.scores import RunRecord, pack


class Record:
    """Correctness of M examples over T epochs, with the sums of three soft scores.

    Parameters
    ----------
    examples, epochs : int
        M and T.
    device : device
        Device of the logits. Nothing leaves it before the end of a run.
    """

    def __init__(self, examples: int, epochs: int, device: torch.device) -> None:
        self.epochs = epochs
        self._correct = torch.zeros((examples, epochs), dtype=torch.bool, device=device)
        self._probability = torch.zeros(examples, dtype=torch.float64, device=device)
        self._margin = torch.zeros(examples, dtype=torch.float64, device=device)
        self._late = torch.zeros(examples, dtype=torch.float64, device=device)
        self._visits = torch.zeros(examples, dtype=torch.int16, device=device)

    def add(self, places: npt.NDArray[np.int64], epoch: int, logits: Tensor, labels: Tensor) -> int:
        """Count a batch, and return how many of its examples are correct.

        Parameters
        ----------
        places : ndarray of int64, shape (B,)
            Places of the examples among the M, each once.
        epoch : int
            0-based.
        logits : Tensor, shape (B, K)
            Logits of the adversarial examples, before the step.
        labels : Tensor of int64, shape (B,)
        """
        where = torch.from_numpy(places).to(logits.device)
        logits = logits.detach().float()
        true = logits.gather(1, labels[:, None])
        others = logits.scatter(1, labels[:, None], float("-inf")).amax(dim=1)
        right = logits.argmax(dim=1) == labels
        self._correct[where, epoch] = right
        probability = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0].double()
        self._probability[where] += probability
        if epoch >= self.epochs // 2:
            self._late[where] += probability
        self._margin[where] += (true[:, 0] - others).double()
        self._visits[where] += 1
        return int(right.sum())

    def close_epoch(self, epoch: int) -> None:
        """Check that every example was counted exactly once in each epoch so far.

        Raises
        ------
        TrainingError
        """
        wrong = int((self._visits != epoch + 1).sum())
        if wrong:
            raise TrainingError(
                f"{wrong} examples were not counted exactly once in epoch {epoch}",
                hint="this is a fault of datacurate: report it",
            )

    def finished(self) -> RunRecord:
        """Return the record of a finished run."""
        late = self.epochs - self.epochs // 2
        return RunRecord(
            epochs=self.epochs,
            correct=pack(self._correct.cpu().numpy()),
            probability=(self._probability / self.epochs).float().cpu().numpy(),
            margin=(self._margin / self.epochs).float().cpu().numpy(),
            measures={"late_probability": (self._late / late).float().cpu().numpy()},
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything counted so far, for the checkpoint."""
        return {
            "correct": self._correct,
            "probability": self._probability,
            "margin": self._margin,
            "late": self._late,
            "visits": self._visits,
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a checkpoint."""
        self._correct.copy_(state["correct"])
        self._probability.copy_(state["probability"])
        self._margin.copy_(state["margin"])
        self._late.copy_(state["late"])
        self._visits.copy_(state["visits"])
