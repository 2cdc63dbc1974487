"""The named data sets: their shapes, classes, sources and official hashes."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from datacurate.errors import UnknownNameError
from datacurate.identity import Identity, with_labels_of, without_labels


@dataclass(frozen=True)
class Archive:
    """The address of the official archive of a data set.

    Attributes
    ----------
    url : str
    md5 : str
        The MD5 sum that its authors publish, as hex digits.
    """

    url: str
    md5: str

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Fingerprints:
    """The official hashes of one split, in official order.

    Attributes
    ----------
    labels, pixels : str
        As computed by `datacurate.fingerprints.label_fingerprint` and ``pixel_fingerprint``.
    """

    labels: str
    pixels: str


@dataclass(frozen=True)
class KnownDataSet:
    """A named data set.

    Attributes
    ----------
    name, title : str
        The name on the command line and the name in text.
    shape : tuple of int
        Height, width and channels of every image.
    classes : int
        Number of classes in the complete data set.
    class_names : tuple of str
        In the order of the labels; empty if WordNet ids name the classes.
    sizes : mapping of str to int
        Number of examples by split.
    archive : Archive or None
        None if the data comes with a dependency.
    mirror : str or None
        A data set repository on the Hub that holds the data as Parquet files.
    official : mapping of str to Fingerprints
        Official hashes by split, as far as they are published.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...]
    sizes: Mapping[str, int]
    archive: Archive | None = None
    mirror: str | None = None
    official: Mapping[str, Fingerprints] = field(default_factory=dict)


_CIFAR10_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""

KNOWN: Mapping[str, KnownDataSet] = {
    known.name: known
    for known in (
        KnownDataSet(
            "cifar10",
            "CIFAR-10",
            shape=(32, 32, 3),
            classes=10,
            class_names=tuple(_CIFAR10_NAMES.split()),
            sizes={"train": 50_000, "test": 10_000},
            archive=Archive(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                "c58f30108f718f92721af3b95e74349a",
            ),
            mirror="uoft-cs/cifar10",
            official={
                "train": Fingerprints(
                    "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
                    "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
                )
            },
        ),
        KnownDataSet(
            "cifar100",
            "CIFAR-100",
            shape=(32, 32, 3),
            classes=100,
            class_names=tuple(_CIFAR100_NAMES.split()),
            sizes={"train": 50_000, "test": 10_000},
            archive=Archive(
                "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
                "eb9058c3a382ffc7106e4002c42a8d85",
            ),
            mirror="uoft-cs/cifar100",
            official={
                "train": Fingerprints(
                    "9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3",
                    "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
                ),
                "test": Fingerprints(
                    "4dad7d09c7c97d33f6cb928d705cf4196221316fd6e31bdd978a08ed9103ee0b",
                    "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
                ),
            },
        ),
        KnownDataSet(
            "tiny-imagenet",
            "Tiny-ImageNet",
            shape=(64, 64, 3),
            classes=200,
            class_names=(),
            sizes={"train": 100_000, "test": 10_000},
            archive=Archive(
                "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                "90528d7ca1a48142e341f4ef8d21d0de",
            ),
            mirror="zh-plus/tiny-imagenet",
        ),
        KnownDataSet(
            "digits",
            "scikit-learn digits",
            shape=(8, 8, 1),
            classes=10,
            class_names=tuple("0123456789"),
            sizes={"train": 1_437, "test": 360},
            official={
                "train": Fingerprints(
                    "00d355536cfe54c3c5aaa1bbc756008bcc5ba7030407f225954ebda1d1ca46c9",
                    "1a5fd3b5c524e826767083c882fe4f8c91850d3568a78caadaa66eb3fe78f5b6",
                ),
                "test": Fingerprints(
                    "7a7a9acee298b8862700d7c2a0341a0ee3744e1369c9107a26149f5d0e61b304",
                    "a422c8110b35908d8bc868469498d8bc67c5d5f4357631b3ded0ee283ca6a1e9",
                ),
            },
        ),
    )
}


def official_identity(name: str, split: str) -> Identity:
    """Return the identity of an official split without reading it, so without labels or images.

    Raises
    ------
    UnknownNameError
        If nothing is published about such a split.
    """
    known = KNOWN.get(name)
    if known is None or split not in known.official or not known.class_names:
        named = {f"{each.name} {part}" for each in KNOWN.values() for part in each.official}
        raise UnknownNameError("official data set", f"{name} {split}", named)
    return without_labels(
        name, split, known.sizes[split], known.class_names, known.official[split].labels
    )


class OfficialStatus(enum.Enum):
    """How data under a known name compares with the official data set."""

    OFFICIAL = "official"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


def official_status(identity: Identity) -> tuple[OfficialStatus, str]:
    """Compare a split with the official one of its name.

    Parameters
    ----------
    identity : Identity

    Returns
    -------
    OfficialStatus
        `UNKNOWN` if no official fingerprint is published.
    str
        One sentence for users.
    """
    known = KNOWN.get(identity.name)
    if known is None:
        return OfficialStatus.UNKNOWN, "your own data set; no official fingerprint exists"
    split = "training" if identity.split == "train" else identity.split
    official = f"the official {known.title} {split} set"
    size = known.sizes.get(identity.split)
    if size is None:
        return OfficialStatus.UNKNOWN, f"{known.title} has no split called {identity.split}"
    if len(identity) != size:
        return (
            OfficialStatus.DIFFERENT,
            f"not {official}: {len(identity):,} examples instead of {size:,}",
        )
    published = known.official.get(identity.split)
    if published is None:
        return OfficialStatus.UNKNOWN, f"no fingerprint of {official} is known"
    if identity.label_fingerprint != published.labels:
        return OfficialStatus.DIFFERENT, f"not {official}: other labels, or another order"
    if not identity.pixel_fingerprint:
        return (
            OfficialStatus.UNKNOWN,
            f"the labels of {official}, in official order, without images",
        )
    if identity.pixel_fingerprint != published.pixels:
        return (
            OfficialStatus.DIFFERENT,
            f"not {official}: its labels in official order, but other pixels "
            "(a re-encoded copy, or another order within classes)",
        )
    return OfficialStatus.OFFICIAL, f"{official}, in official order"


def adopt_official_identity(ranked: Identity, data: Identity) -> Identity:
    """Return an identity without labels, completed from the data at hand.

    If the data is the official data set, return its identity. Otherwise take only the labels: the
    image hashes of a re-encoded copy are not those of the ranked images.

    Raises
    ------
    DataMismatchError
        If the label fingerprints differ.
    """
    labelled = with_labels_of(ranked, data)
    return data if official_status(data)[0] is OfficialStatus.OFFICIAL else labelled
