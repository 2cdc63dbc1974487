"""The fields of a recipe: frozen dataclasses, each number with its range.

Radii and step sizes are in units of 1/255 of the pixel range. S0 is "Data Profiling for
Adversarial Training", S1 the appendices of "Data Quality Matters for Adversarial Training".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Measure = Literal[
    "clean_probability",
    "final_probability",
    "late_probability",
    "minimum_perturbation",
    "el2n",
]
RankedColumn = Literal[
    "instability",
    "probability",
    "margin",
    "late_probability",
    "clean_probability",
    "final_probability",
    "minimum_perturbation",
]
DType = Literal["auto", "float32", "bfloat16"]
MethodName = Literal["pgd-at", "trades", "mart", "gairat", "fgsm-rs", "n-fgsm", "standard"]
Start = Literal["uniform", "zero", "gaussian"]


def ranged(
    default: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Return a dataclass field with a default and the range that `within` checks."""
    limits = {"least": least, "most": most, "above": above, "below": below}
    return field(default=default, metadata={k: v for k, v in limits.items() if v is not None})


def within(value: float, limits: Any) -> bool:
    """Return whether a number is in the range that a field's metadata states."""
    return bool(
        value >= limits.get("least", value)
        and value <= limits.get("most", value)
        and value > limits.get("above", float("-inf"))
        and value < limits.get("below", float("inf"))
    )


@dataclass(frozen=True)
class Model:
    """The network.

    Attributes
    ----------
    name : str
        A name of `datacurate.nets`.
    width : int or None
        Channels of the first stage; None is the network's own.
    """

    name: str = "preact-resnet18"
    width: int | None = ranged(None, least=1)


@dataclass(frozen=True)
class Attack:
    """Projected gradient ascent in the ℓ∞ ball, clamped to pixels in [0, 1].

    Attributes
    ----------
    radius, step : float
        In 1/255.
    steps : int
    start : str
        ``"uniform"`` in the ball, ``"zero"``, or ``"gaussian"``: 0.001 · N(0, 1) about it.
    """

    radius: float = ranged(8.0, above=0, most=255)
    step: float = ranged(2.0, above=0, most=255)
    steps: int = ranged(10, least=1)
    start: Start = "uniform"


@dataclass(frozen=True)
class Optimizer:
    """SGD with momentum and its learning rate over time.

    Attributes
    ----------
    learning_rate : float
        The initial rate of ``"steps"``, the peak of ``"one-cycle"``.
    schedule : str
        ``"steps"`` multiplies by `factor` at each of `milestones` (epochs); ``"one-cycle"`` rises
        linearly to the peak over the first `warmup` of all steps and falls linearly to zero.
    """

    learning_rate: float = ranged(0.1, above=0)
    momentum: float = ranged(0.9, least=0, below=1)
    weight_decay: float = ranged(5e-4, least=0)
    batch_size: int = ranged(128, least=2)
    schedule: Literal["steps", "one-cycle"] = "steps"
    milestones: tuple[int, ...] = (80, 120)
    factor: float = ranged(0.1, above=0, most=1)
    warmup: float = ranged(0.3, least=0, below=1)


@dataclass(frozen=True)
class Augmentation:
    """Random crop after zero padding, and horizontal flip.

    Attributes
    ----------
    padding : int or None
        Pixels on each side; None is an eighth of the image's height (4 of 32, 8 of 64).
    flip : bool or None
        None flips every data set but those whose mirror images mean something else.
    """

    padding: int | None = ranged(None, least=0)
    flip: bool | None = None


@dataclass(frozen=True)
class CheckpointSelection:
    """How the robust-best checkpoint is chosen: the highest PGD accuracy from a zero start.

    Attributes
    ----------
    attack : Attack
        The test attack; radius 8 whatever the training radius.
    examples : int
        How many examples are attacked each time, evenly spread over the set; 0 is all.
    every : int
        Epochs between two evaluations; the last epoch is always evaluated.
    """

    attack: Attack = Attack(start="zero")
    examples: int = ranged(0, least=0)
    every: int = ranged(1, least=1)


@dataclass(frozen=True)
class Objective:
    """What some methods need besides the attack; the others leave it unused.

    Attributes
    ----------
    beta : float
        TRADES: β of its divergence term. MART: λ of its.
    offset : float
        GAIRAT: A of its weights.
    noise : float
        N-FGSM: its noise is uniform within so many radii.
    tracking_step : float
        TRADES: step, in 1/255, of the separate attack on the label from which correctness is
        recorded. Its radius is that of the training attack, its start uniform.
    tracking_steps : int
        How many of them.
    """

    beta: float = ranged(6.0, least=0)
    offset: float = 0.0
    noise: float = ranged(2.0, least=0)
    tracking_step: float = ranged(2.0, above=0, most=255)
    tracking_steps: int = ranged(10, least=1)


@dataclass(frozen=True)
class Training:
    """One training, complete but for its seed.

    The defaults are those of S0, appendix C, for a PreAct ResNet-18 on CIFAR-10. The methods are
    described in `datacurate.training.methods`.

    Attributes
    ----------
    memorization : float
        The last part of the epochs, as a fraction, that goes without augmentation and weight decay:
        a net too small to fit the augmented images in the time it has still tells, by the order in
        which it memorises the bare ones, what a large net learns late.
    """

    method: MethodName = "pgd-at"
    epochs: int = ranged(160, least=1)
    memorization: float = ranged(0.0, least=0, most=1)
    model: Model = Model()
    attack: Attack = Attack()
    objective: Objective = Objective()
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()
    selection: CheckpointSelection = CheckpointSelection()


@dataclass(frozen=True)
class Execution:
    """Where and with which kernels: fields of the recipe, for they change the last bits.

    Attributes
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    dtype : str
        ``"float32"``, or ``"bfloat16"`` autocast.
    threads : int
        CPU threads of a training; 0 takes all cores.
    kernels : str
        ``"compiled"`` takes full batches through graphs that are compiled once; ``"eager"`` none.
    """

    device: str = "auto"
    dtype: DType = "auto"
    threads: int = ranged(0, least=0)
    kernels: Literal["auto", "eager", "compiled"] = "auto"


@dataclass(frozen=True)
class ProfileRecipe:
    """What `datacurate profile` does.

    Attributes
    ----------
    runs : int
        Independent trainings; run r has seed ``seed + r`` (weights, order, augmentation, noise).
    aggregate : str
        ``"mean-rank"`` averages the runs' ranks (S0, A.2); ``"pooled"`` ranks the sum of their
        counts.
    rank_by : tuple of str
        The columns by which each run ranks the examples; the mean is over these too. The paper's
        is ``"instability"`` alone (S0, Eq. 4).
    measures : tuple of str
        What is measured of every training example at the robust-best checkpoint of each run:
        ``"clean_probability"`` (S1, B.1) and ``"minimum_perturbation"`` (S1, B.2). At the last
        network: ``"final_probability"``, the true-class probability of the unaugmented image under
        `final_attack`. During training: ``"late_probability"``, the adversarial true-class
        probability, mean over the second half of the epochs. And, of standard training, early in
        it: ``"el2n"`` (https://arxiv.org/abs/2107.07075).
    perturbation_cap : int
        The largest perturbation tried, in 1/255.
    el2n_epoch : int
        After how many epochs EL2N is measured; of a shorter training after the last.
    final_attack : Attack
        Of ``"final_probability"``.
    """

    name: str
    summary: str
    runs: int = ranged(10, least=1)
    seed: int = ranged(0, least=0)
    aggregate: Literal["mean-rank", "pooled"] = "mean-rank"
    rank_by: tuple[RankedColumn, ...] = ("instability",)
    measures: tuple[Measure, ...] = ("clean_probability", "minimum_perturbation")
    perturbation_cap: int = ranged(32, least=1, most=254)
    el2n_epoch: int = ranged(20, least=1)
    final_attack: Attack = Attack(start="zero")
    training: Training = Training()
    execution: Execution = Execution()


@dataclass(frozen=True)
class VerifyRecipe:
    """What `datacurate verify` does.

    Attributes
    ----------
    seeds : int
        Paired repetitions: the arms of a pair share initial weights and selection set.
    arms : tuple of str
        ``"all"``, ``"kept"``, ``"random"`` (as many as kept, drawn anew for each seed),
        ``"class-matched"`` (random with the class counts of kept), and names of the user's own.
    compare : tuple of str
        Each ``"A:B"``: arm A is judged against arm B. Empty judges kept, or where there is none
        the first arm, against each of the others.
    equal_sizes : bool
        Refuse arms, other than all, that are not trained on equally many examples.
    standard : bool
        Train each arm also in the standard way, for the cross-generalisation gap (S0, figure 13).
    suite : str
        ``"custom"`` is APGD-CE then APGD-T, ``"standard"`` all of AutoAttack; any other of
        `datacurate.attacks.suites.plan` gives an upper bound of what these leave.
    radius : float
        Of the evaluation, in 1/255.
    examples : int
        Test examples attacked, the same for every arm; 0 is all.
    select : str
        Where the best checkpoint is chosen: on ``"held-out"`` training examples taken from every
        arm, or on the ``"test"`` examples, as the paper does.
    held_out : float
        The held-out fraction of all training examples.
    """

    name: str
    summary: str
    seeds: int = ranged(3, least=1)
    seed: int = ranged(0, least=0)
    arms: tuple[str, ...] = ("all", "kept", "random")
    compare: tuple[str, ...] = ()
    equal_sizes: bool = False
    standard: bool = False
    suite: str = "custom"
    radius: float = ranged(8.0, above=0, most=255)
    examples: int = ranged(1000, least=0)
    select: Literal["held-out", "test"] = "held-out"
    held_out: float = ranged(0.02, above=0, below=0.5)
    training: Training = Training()
    execution: Execution = Execution()
