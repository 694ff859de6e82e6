"""The image-blind baseline on hand-counted items, and on the published splits."""

import gzip
import json
import re
from pathlib import Path

import pytest
from planted import make_item

from medproof.errors import UserError
from medproof.records import Item
from medproof.scoring.text_prior import TextPrior, normal_form

EXPECTED = {
    "CT_Computed_Tomography": 99.0,
    "X-Ray": 94.6,
    "ultrasound": 83.4,
    "Dermoscopy": 95.1,
    "Fundus_Photography": 94.9,
    "OCT__Optical_Coherence_Tomography": 100.0,
    "Microscopy_Images": 98.6,
}


def test_score_counts_right_and_wrong() -> None:
    prior = TextPrior.fit(
        [
            make_item(0, "A", ("Cyst.", "mass")),
            make_item(1, "A", ("cyst", "Mass,")),
            make_item(2, "B", ("cyst", "scar")),
        ]
    )
    assert prior.counts["cyst"] == (2, 1)
    assert prior.score("CYST.") == 2.5 / 5
    assert prior.score("mass") == 0.5 / 4
    assert prior.score("scar") == 1.5 / 3
    assert prior.score("never seen") == 0.25
    assert prior.n_fitted == 3


def test_predicts_the_highest_score_and_of_equals_the_first() -> None:
    prior = TextPrior.fit([make_item(0, "A", ("cyst", "mass"))])
    assert prior.predict(make_item(1, "A", ("mass", "cyst"))) == "cyst"
    assert prior.predict(make_item(2, "A", ("new", "newer", "mass"))) == "new"
    assert prior.accuracy([make_item(1, "A", ("mass", "cyst")), make_item(2, "B", ("mass", "cyst"))]) == 0.5


def test_no_item_is_no_accuracy() -> None:
    with pytest.raises(UserError, match="no item"):
        TextPrior.fit([]).accuracy([])


def test_normal_form() -> None:
    assert normal_form(" No, It's normal.") == "no, it's normal"
    assert normal_form("No,") == normal_form("no.") == "no"


def _items(path: Path) -> list[Item]:
    """Med-R1 rows as items; rows with a repeated option are left out, as the reader leaves them out."""
    items = []
    for number, row in enumerate(json.loads(gzip.decompress(path.read_bytes()))):
        cuts, at = [], 0
        for letter in "ABCD":
            match = re.compile(rf"(?:^|,? ){letter}\)").search(row["problem"], at)
            if match is None:
                break
            cuts.append((match.start(), match.end()))
            at = match.end()
        ends = [start for start, _ in cuts[1:]] + [len(row["problem"])]
        options = [row["problem"][begin:end].strip() for (_, begin), end in zip(cuts, ends, strict=True)]
        if len({option.casefold() for option in options}) == len(options):
            items.append(make_item(number, row["solution"].split()[1], options))
    return items


@pytest.mark.parametrize("name", EXPECTED)
def test_published_splits(name: str, shared_data: Path) -> None:
    folder = shared_data / "omnimedvqa_full"
    prior = TextPrior.fit(_items(folder / "train" / f"{name}_train.json.gz"))
    accuracy = 100 * prior.accuracy(_items(folder / "test" / f"{name}_test.json.gz"))
    assert accuracy == pytest.approx(EXPECTED[name], abs=0.3)
