import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from medproof.datasets import Dataset, load
from medproof.datasets.dataset import sample_items
from medproof.errors import UserError
from medproof.records import Item


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return load("sample")


def test_filters_keep_what_matches(sample: Dataset) -> None:
    part = sample.filter(split="test", modality="MRI", question_type="Disease Diagnosis")
    assert len(part) == 36
    assert {(i.split, i.modality, i.question_type) for i in part.items} == {("test", "MRI", "Disease Diagnosis")}


def test_limit_is_the_same_items_whatever_the_order(sample: Dataset) -> None:
    shuffled = list(sample.items)
    random.Random(1).shuffle(shuffled)
    first = sample_items(sample.items, 50)
    assert len(first) == 50
    assert {i.id for i in first} == {i.id for i in sample_items(shuffled, 50)}
    assert [i.id for i in first] == sorted(i.id for i in first)


def test_a_smaller_limit_is_a_subset(sample: Dataset) -> None:
    assert {i.id for i in sample_items(sample.items, 20)} < {i.id for i in sample_items(sample.items, 70)}


def test_limit_depends_on_the_seed_and_spreads_over_strata(sample: Dataset) -> None:
    first, second = (sample_items(sample.items, 100, seed) for seed in (0, 1))
    assert {i.id for i in first} != {i.id for i in second}
    share = Counter(i.modality for i in sample.items)
    for modality, n in Counter(i.modality for i in first).items():
        assert abs(n - 100 * share[modality] / len(sample)) <= 4
    assert len({i.modality for i in first}) == len(share)


def stepped(sample: Dataset) -> list[Item]:
    """Chains of one to four steps, each but the first naming the step before as its parent."""
    found: list[Item] = []
    for number, item in enumerate(sample.items[:80]):
        for step in range(1 + number % 4):
            name = f"{item.id}/{step}"
            parents = (f"{item.id}/{step - 1}",) if step else ()
            new = {"id": name, "case": item.id, "stage": f"S{step + 1}", "parents": parents}
            found.append(item.model_copy(update=new))
    return found


@pytest.mark.parametrize("limit", [1, 7, 30, 60])
def test_limit_keeps_chains_whole_but_for_the_end_of_one(sample: Dataset, limit: int) -> None:
    items = stepped(sample)
    chosen = sample_items(items, limit)
    whole, taken = (Counter(item.case for item in some) for some in (items, chosen))
    assert len(chosen) == limit
    assert sum(taken[case] != whole[case] for case in taken) <= 1
    ids = {item.id for item in chosen}
    assert all(parent in ids for item in chosen for parent in item.parents), "no step without those before it"
    shuffled = random.Random(2).sample(items, len(items))
    assert ids == {item.id for item in sample_items(shuffled, limit)}
    assert ids < {item.id for item in sample_items(items, limit + 9)}


def test_limit_below_one_is_refused_and_a_large_one_takes_all(sample: Dataset) -> None:
    with pytest.raises(UserError, match="limit 0"):
        sample.filter(limit=0)
    assert sample.filter(limit=10**6).items == sample.items


def test_fingerprint_follows_content_not_order(sample: Dataset) -> None:
    assert replace(sample, items=sample.items[::-1]).fingerprint == sample.fingerprint
    changed = sample.items[0].model_copy(update={"question": "Something else?"})
    assert replace(sample, items=(changed, *sample.items[1:])).fingerprint != sample.fingerprint
    assert len(sample.fingerprint) == 64


def test_image_path_is_inside_the_root(sample: Dataset, tmp_path: Path) -> None:
    assert sample.image_path(sample.items[0]).is_file()
    sample.check_images()
    item = sample.items[0]
    elsewhere = Dataset("x", tmp_path, (item,))
    with pytest.raises(UserError, match="give the folder that holds the images with --images"):
        elsewhere.check_images()
    outside = tmp_path.parent / "outside.png"
    outside.write_bytes(b"x")
    link = tmp_path / item.image
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(UserError, match="through a link"):
        elsewhere.image_path(item)
    outside.unlink()


def test_an_item_made_without_validation_cannot_leave_the_root(sample: Dataset, tmp_path: Path) -> None:
    item = Item.model_construct(**(dict(sample.items[0]) | {"image": "../../etc/passwd"}))
    with pytest.raises(UserError, match="leaves the data folder"):
        Dataset("x", tmp_path, (item,)).image_path(item)
