"""What an attack suite is run with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from datacurate.attacks.acceleration.switches import Acceleration
from datacurate.attacks.suites import Implementation
from datacurate.recipes.fields import DType


@dataclass(frozen=True)
class AttackSettings:
    """Settings of an attack suite on one model.

    Attributes
    ----------
    radius_255 : float
        Of the ℓ∞ ball, in 1/255. It does not depend on how the model was trained.
    suite : str
        See `datacurate.attacks.suites.SUITES`.
    seed : int
        Each example's noise depends on the seed and the example's key.
    batch_size : int, optional
        Examples in a batch; by default 250, and on CUDA as many as fit, up to 2,048.
    dtype : str
        Arithmetic of the search: ``"float32"``, ``"bfloat16"``, or ``"auto"``, for which `evaluate`
        chooses bfloat16 where the device is faster in it. Square always compares in float32, and
        float32 decides whether an example is broken. An example that came so close to the boundary
        that bfloat16 may have missed it is attacked again in float32.
    implementation : str
        ``"own"``, or ``"package"`` for the attacks of `pyautoattack`.
    surrogate : Module, optional
        For suites with transfer attacks; on the same device as the model.
    steps : mapping of str to int
        Iterations or queries of some attacks, instead of those of the suite.
    rows_per_thread : int
        On a CPU, the number of rows that one thread attacks in a batch. Kernels are inefficient
        with far fewer.
    acceleration : Acceleration
        Which accelerations are used; all by default.
    """

    radius_255: float = 8.0
    suite: str = "standard"
    seed: int = 0
    batch_size: int | None = None
    dtype: DType = "auto"
    implementation: Implementation = "own"
    surrogate: nn.Module | None = None
    steps: Mapping[str, int] = field(default_factory=dict)
    rows_per_thread: int = 96
    acceleration: Acceleration = Acceleration()

    @property
    def radius(self) -> float:
        """Radius in pixel units."""
        return self.radius_255 / 255
