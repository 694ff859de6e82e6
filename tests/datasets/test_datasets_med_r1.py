import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medproof.datasets import load
from medproof.datasets.med_r1 import answer_index, split_problem, to_items
from medproof.errors import UserError

PATH = Path("X-Ray_test.json")
ROW = {"image": "Images/MIAS/a.png", "problem": "What is it? A)CT, B)X-ray", "solution": "<answer> B </answer>"}

TRAPS = [
    "Electrocardiogram (ECG)",
    "macula due to Diabetic Macular Edema (DME).",
    "Hematoxylin & eosin (H&E) stained",
    "open sore, indicated by redness, on the cornea",
    "Hepatitis (type B) virus",
    "grade (A) or (B)",
    "No.",
    "vitamin B)",
    "C) twice",
    "tumour (unclosed",
    "x",
    "A",
    "B",
    "it's normal",
    "(see A) above",
]
PLAIN = st.text(alphabet="abcXYZ (),.:'-019", min_size=1, max_size=30).map(str.strip)
OPTION = st.sampled_from(TRAPS) | PLAIN.filter(bool)
STEM = st.sampled_from(
    [
        "What is this?",
        '"What is the visible finding?"',
        "Name the type (A or B)",
        "What, if anything, is seen",
        "Is it (A) or not?",
    ]
)


def compose(stem: str, options: list[str]) -> str:
    return f"{stem} " + ", ".join(f"{letter}){option}" for letter, option in zip("ABCDEFGHIJ", options))


@given(STEM, st.lists(OPTION, min_size=2, max_size=6))
@settings(max_examples=400)
@example("Q?", ["Electrocardiogram (ECG)", "x, y, z (H&E), w", "No."])
def test_a_composed_problem_is_read_back(stem: str, options: list[str]) -> None:
    assert split_problem(compose(stem, options)) == (stem, options)


def test_a_marker_in_brackets_is_no_marker() -> None:
    assert split_problem("Which (type A) is it? A)one, B)two (or, B) three), C)four") == (
        "Which (type A) is it?",
        ["one", "two (or, B) three)", "four"],
    )


def test_a_bracket_that_never_closes_swallows_no_option() -> None:
    assert split_problem("What? A)tumour (large, B)cyst, C)none") == ("What?", ["tumour (large", "cyst", "none"])


@pytest.mark.parametrize(
    "problem", ["What is it?", "What? A)one", "A)one, B)two", "What? B)one, C)two", "What? a)one, b)two"]
)
def test_a_problem_without_stem_or_two_options_is_refused(problem: str) -> None:
    with pytest.raises(ValueError, match=r"no options found|no question before"):
        split_problem(problem)


@pytest.mark.parametrize(
    "solution", ["<answer> B </answer>", "<answer>b</answer>", "<think>x</think><ANSWER>\nB\n</ANSWER>"]
)
def test_the_answer_tag_is_read(solution: str) -> None:
    assert answer_index(solution, 2) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"solution": "B"}, "the solution has no <answer> tag"),
        ({"solution": "<answer> C </answer>"}, "the answer 'C' is none of the options A to B"),
        ({"solution": "<answer></answer>"}, "the answer '' is none of the options"),
        ({"solution": "<answer>A</answer><answer>B</answer>"}, "several answers"),
        ({"problem": "What? A)one, B)one"}, "the same option twice"),
        ({"problem": "What? A)one, B)One"}, "the same option twice"),
        ({"problem": "What? A)one, B)"}, "empty option"),
        ({"problem": "What?"}, "no options found"),
        ({"problem": None}, "field 'problem' is missing or no text"),
        ({"image": 7}, "field 'image' is missing or no text"),
    ],
)
def test_a_bad_row_is_set_aside_with_index_and_reason(change: dict[str, Any], reason: str) -> None:
    missing = {key: value for key, value in ROW.items() if key != "solution"}
    items, quarantined = to_items([ROW, ROW | change, ["no", "dict"], missing, ROW], PATH)
    assert [item.id for item in items] == ["X-Ray_test:0", "X-Ray_test:4"]
    assert [q.where for q in quarantined] == ["X-Ray_test.json[1]", "X-Ray_test.json[2]", "X-Ray_test.json[3]"]
    assert reason in quarantined[0].reason
    assert [q.reason for q in quarantined[1:]] == ["not a JSON object", "field 'solution' is missing or no text"]


@pytest.mark.parametrize("image", ["../x.png", "/x.png", "a/../../x.png", "C:/x.png"])
def test_an_image_outside_the_root_is_refused(image: str) -> None:
    with pytest.raises(UserError, match="leaves the data folder"):
        to_items([ROW | {"image": image}], PATH)


def test_the_path_is_no_part_of_what_is_asked() -> None:
    item = to_items([ROW | {"image": "Images/MIAS/cancer/a.png"}], PATH)[0][0]
    assert "cancer" not in item.question + "".join(item.options) + "".join(item.facts.values())


def test_the_published_traps_are_read(shared_data: Path) -> None:
    for entry in json.loads((shared_data / "omnimedvqa_splits" / "parser_traps.json").read_text()):
        items, quarantined = to_items([entry["row"]], Path(entry["file"]))
        assert not quarantined, entry
        stem, options = items[0].question, list(items[0].options)
        assert compose(stem, options).split() == entry["row"]["problem"].split(), entry
        trap = entry["trap"]
        assert len(options) == {"two_options": 2, "three_options": 3}.get(trap, len(options))
        if trap == "option_ends_with_period":
            assert any(option.endswith(".") for option in options)


def test_the_published_malformed_rows_are_set_aside_or_of_unknown_file(shared_data: Path) -> None:
    entries = json.loads((shared_data / "omnimedvqa_splits" / "malformed_rows.json").read_text())
    for entry in entries:
        items, quarantined = to_items([entry["row"]], Path(entry["file"]))
        if entry["issue"].startswith("duplicate"):
            assert items == []
            assert "the same option twice" in quarantined[0].reason
        else:
            assert len(items) == 1
    assert len(entries) == 89


# rows, rows with two, three and four options, rows with a repeated option: the table of SOURCES.md
FULL = {
    "test/CT_Computed_Tomography_test": (3241, 834, 0, 2407, 0),
    "test/Dermoscopy_test": (1306, 294, 0, 1012, 0),
    "test/Fundus_Photography_test": (1098, 95, 20, 983, 0),
    "test/MR__Mag-netic_Resonance_Imaging_test": (6370, 3, 0, 6367, 0),
    "test/Microscopy_Images_test": (1110, 87, 0, 1023, 0),
    "test/OCT__Optical_Coherence_Tomography_test": (848, 32, 0, 816, 0),
    "test/X-Ray_test": (1615, 47, 0, 1568, 0),
    "test/ultrasound_test": (2074, 0, 0, 2074, 4),
    "train/CT_Computed_Tomography_train": (12567, 3247, 0, 9320, 3),
    "train/Dermoscopy_train": (5373, 1102, 0, 4271, 0),
    "train/Fundus_Photography_train": (4300, 344, 102, 3854, 0),
    "train/Microscopy_Images_train": (4570, 381, 0, 4189, 0),
    "train/OCT__Optical_Coherence_Tomography_train": (3798, 129, 0, 3669, 0),
    "train/X-Ray_train": (6301, 183, 0, 6118, 0),
    "train/ultrasound_train": (8917, 0, 0, 8917, 37),
    "train/unknown_train": (1, 0, 0, 1, 0),
}


def test_full_files_give_the_published_counts_and_fast(shared_data: Path, omnimedvqa_full: Any) -> None:
    folder = shared_data / "omnimedvqa_full"
    dataset = omnimedvqa_full.dataset
    assert omnimedvqa_full.cpu_seconds < 20
    options: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for item in dataset.items:
        options[item.id.rpartition(":")[0]][len(item.options)] += 1
    made = Counter(item.id.rpartition(":")[0] for item in dataset.items)
    aside = Counter(q.where.rpartition(".json.gz[")[0] for q in dataset.quarantined)
    for name, (n_rows, two, three, four, repeated) in FULL.items():
        stem = name.partition("/")[2]
        assert (made[stem], aside[name]) == (n_rows - repeated, repeated), name
        assert tuple(options[stem][k] for k in (2, 3, 4)) == (two, three, four - repeated), name
        rows = json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))
        assert made[stem] + aside[name] == len(rows)
    splits = {(i.split, i.id.rpartition(":")[0].rpartition("_")[2]) for i in dataset.items}
    assert splits == {("train", "train"), ("test", "test")}


def test_excerpts_of_both_schemes_load_whole(shared_data: Path) -> None:
    root = shared_data / "omnimedvqa_splits"
    files = sorted((root / "modality").rglob("*.json")) + sorted((root / "question_type").rglob("*.json"))
    assert len(files) == 13
    for file in files:
        dataset = load(file)
        assert len(dataset.items) + len(dataset.quarantined) == 60
        if "question_type" in file.parts:
            assert {i.question_type for i in dataset.items} == {file.stem.removesuffix("_test")}
        else:
            assert len({i.modality for i in dataset.items}) == 1
            assert dataset.items[0].modality != "unknown"
