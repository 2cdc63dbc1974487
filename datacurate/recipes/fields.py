"""The fields of a recipe: frozen dataclasses, each number with its range.

Radii and step sizes are in units of 1/255 of the pixel range.

A field that is added from now on must keep the hashes of the recipes that are published. It is
declared with ``as_before``: the value that means what recipes meant before the field existed. At
that value the field is not stored and does not count in the hash.
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


AS_BEFORE = "as_before"
"""Key of a field's metadata: the value at which the field is neither stored nor hashed."""


def ranged(
    default: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    as_before: Any = None,
) -> Any:
    """Return a dataclass field with a default and the range that `within` checks.

    Parameters
    ----------
    default : object
    least, most : float, optional
        Smallest and largest value that is allowed.
    above, below : float, optional
        Values that the field must exceed, or stay below.
    as_before : object, optional
        For a field added to published recipes: the value that means what they meant without it.
    """
    limits = {"least": least, "most": most, "above": above, "below": below}
    metadata = {k: v for k, v in limits.items() if v is not None}
    if as_before is not None:
        metadata[AS_BEFORE] = as_before
    return field(default=default, metadata=metadata)


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
    """Which network to train.

    Attributes
    ----------
    name : str
        A name in the table of `datacurate.nets`.
    width : int or None
        Channels of the first stage; None is the default of the network.
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
    """Parameters of single methods; the other methods ignore them.

    Attributes
    ----------
    beta : float
        TRADES: weight β of the divergence term. MART: weight λ.
    offset : float
        GAIRAT: offset A of the weights.
    noise : float
        N-FGSM: the noise is uniform within this multiple of the radius.
    tracking_step : float
        TRADES: step, in 1/255, of the separate attack on the label that records correctness. It
        has the radius of the training attack and a uniform start.
    tracking_steps : int
        Number of steps of that attack.
    """

    beta: float = ranged(6.0, least=0)
    offset: float = 0.0
    noise: float = ranged(2.0, least=0)
    tracking_step: float = ranged(2.0, above=0, most=255)
    tracking_steps: int = ranged(10, least=1)


@dataclass(frozen=True)
class Training:
    """One training, complete except for its seed.

    The defaults are those of Dong et al. 2021, appendix C, for a PreAct ResNet-18 on CIFAR-10. The
    methods are described in `datacurate.training.methods`.

    Attributes
    ----------
    memorization : float
        Fraction of the epochs, the last ones, without augmentation and weight decay. A small net
        cannot fit the augmented images in its time. The order in which it memorises the images
        without augmentation still tells what a large net learns late.
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
    """Where a training runs, and with which kernels. It changes the last bits of a result.

    Attributes
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    dtype : str
        ``"float32"``, or ``"bfloat16"`` autocast.
    threads : int
        CPU threads of a training; 0 means all cores.
    kernels : str
        ``"compiled"`` passes full batches through graphs that are compiled once; ``"eager"`` does
        not compile.
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
        ``"mean-rank"`` averages the ranks of the runs (Dong et al. 2021, appendix A.2);
        ``"pooled"`` ranks the sum of their counts.
    rank_by : tuple of str
        The columns by which each run ranks the examples; the mean is over columns and runs. The
        paper uses ``"instability"`` alone (Dong et al. 2021, Eq. 4).
    measures : tuple of str
        Measures of every training example. At the robust-best checkpoint of each run:
        ``"clean_probability"`` and ``"minimum_perturbation"`` (Dong et al., Data Quality Matters,
        appendices B.1 and B.2). After the last epoch: ``"final_probability"``, the true-class
        probability of the unaugmented image under `final_attack`. During training:
        ``"late_probability"``, the adversarial true-class probability, averaged over the second
        half of the epochs. Early in standard training: ``"el2n"`` (Paul et al. 2021,
        https://arxiv.org/abs/2107.07075).
    perturbation_cap : int
        The largest perturbation tried, in 1/255.
    el2n_epoch : int
        Number of epochs after which EL2N is measured; in a shorter training after the last.
    final_attack : Attack
        The attack of ``"final_probability"``.
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
        Number of repetitions. The arms of a seed share initial weights and selection set.
    arms : tuple of str
        ``"all"``, ``"kept"``, ``"random"`` (as many as kept, drawn anew for each seed),
        ``"class-matched"`` (random with the class counts of kept), and the names of own arms.
    compare : tuple of str
        Each ``"A:B"`` compares arm A with arm B. If empty, kept, or else the first arm, is
        compared with each of the others.
    equal_sizes : bool
        Refuse arms, other than all, that are not trained on equally many examples.
    standard : bool
        Also train each arm standardly, for the cross-generalisation gap (Dong et al. 2021,
        figure 13).
    suite : str
        ``"custom"`` is APGD-CE, then APGD-T; ``"standard"`` is all of AutoAttack. The robust
        accuracy under another suite of `datacurate.attacks.suites` is an upper bound.
    radius : float
        Attack radius of the evaluation, in 1/255.
    examples : int
        Test examples attacked, the same for every arm; 0 is all.
    select : str
        Examples that choose the best checkpoint: ``"held-out"`` training examples, which no arm
        trains on, or the ``"test"`` examples, as in the paper.
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
