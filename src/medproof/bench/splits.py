"""Train and test share no patient, no image and no near-duplicate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from medproof.datasets.audit.overlap import Look, near_duplicates
from medproof.records import Split
from medproof.seeds import derive_seed


@dataclass(frozen=True)
class Member:
    """One image: its name, patient and split where known, and how it looks."""

    name: str
    patient: str | None
    split: Split | None
    look: Look


@dataclass(frozen=True)
class Splits:
    """split_of: by name; left out are the test images of `dropped` (name -> reason)."""

    split_of: Mapping[str, Split]
    dropped: Mapping[str, str]


def assign(members: Sequence[Member], test_share: float, seed: int) -> Splits:
    """Keep the splits that are given, and deal out the rest by cluster.

    A cluster is all that is tied together by patient, equal bytes or equal look. A test image whose cluster reaches
    into training is left out. Clusters without a split go to test, in an order drawn by the seed, until `test_share` of
    them is there, the rest to training; a member without a split joins its cluster.
    """
    clusters, ties = _clusters(members)
    split_of: dict[str, Split] = {}
    dropped: dict[str, str] = {}
    loose = []
    for key, cluster in sorted(clusters.items()):
        given = {member.split for member in cluster if member.split is not None}
        if not given:
            loose.append(key)
            continue
        home: Split = "train" if "train" in given else "test"
        for member in cluster:
            if member.split == "test" and home == "train":
                dropped[member.name] = ties.get(member.name, "tied to a training image")
            else:
                split_of[member.name] = home
    loose.sort(key=lambda key: (derive_seed(seed, key, "split"), key))
    for number, key in enumerate(loose):
        split: Split = "test" if number < ceil(test_share * len(loose)) else "train"
        split_of |= {member.name: split for member in clusters[key]}
    return Splits(split_of, dropped)


def _clusters(members: Sequence[Member]) -> tuple[dict[str, list[Member]], dict[str, str]]:
    """Clusters by their first name, and per name what ties it to an image of another split."""
    root = {member.name: member.name for member in members}
    by_name = {member.name: member for member in members}
    reasons: dict[str, str] = {}

    def find(name: str) -> str:
        while root[name] != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    def tie(a: str, b: str, reason: str) -> None:
        if by_name[a].split != by_name[b].split:
            for name in (a, b):
                reasons.setdefault(name, reason)
        first, second = sorted((find(a), find(b)))
        root[second] = first

    for reason, keys in (
        ("its patient is in training too", {m.name: m.patient for m in members if m.patient is not None}),
        ("the same image is in training", {m.name: m.look.sha256 for m in members}),
    ):
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for name, key in keys.items():
            groups[key].append(name)
        for names in groups.values():
            for a in names:
                for b in names if len({by_name[n].split for n in names}) > 1 else names[:1]:
                    tie(a, b, reason)
    looks = {member.name: member.look for member in members}
    for name, others in near_duplicates(looks, looks).items():
        for other in sorted(others - {name}):
            tie(name, other, "a near-duplicate is in training")
    clusters: defaultdict[str, list[Member]] = defaultdict(list)
    for member in members:
        clusters[find(member.name)].append(member)
    return dict(clusters), reasons
