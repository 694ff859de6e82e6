"""The parser table: what a reply says, by which rule."""

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medproof.records import LETTERS
from medproof.scoring.parse import parse
from medproof.scoring.refusal import is_refusal, is_refusal_option

IMAGING = ("X-ray", "MRI", "CT", "Ultrasound")
YES_NO = ("Yes", "No, It's normal.")
PLAIN_YES_NO = ("Yes", "No")
STAINS = (
    "Electrocardiogram (ECG)",
    "Hematoxylin and eosin (H&E)",
    "Diabetic macular edema (DME), severe",
    "Positron emission tomography (PET) scan",
)
MASSES = ("No mass", "A large mass", "Large mass", "Small cyst")
BLOOD = ("B", "A", "AB", "O")
UNSURE = ("Benign", "Malignant", "Cannot be determined")
HEDGES = (
    "No, It's normal.",
    "I can't say for sure, but it looks abnormal.",
    "Yes, it shows a significant abnormality.",
    "There is a possibility of abnormality, but further tests are needed for confirmation.",
)
HEPATITIS = ("Hepatitis A", "Hepatitis C", "Hepatitis B", "Healthy liver")
FIVE = ("E. coli", "S. aureus", "Candida", "Giardia", "None seen")

# text, options, index chosen (None: none), status, rule
CHOSEN = [
    # tag: every written form
    ("<answer>C</answer>", IMAGING, 2, "tag"),
    ("<answer> C </answer>", IMAGING, 2, "tag"),
    ("<answer>\nC\n</answer>", IMAGING, 2, "tag"),
    ("<answer>c</answer>", IMAGING, 2, "tag"),
    ("<answer>C)</answer>", IMAGING, 2, "tag"),
    ("<answer>C.</answer>", IMAGING, 2, "tag"),
    ("<answer>(C)</answer>", IMAGING, 2, "tag"),
    ("<answer>[C]</answer>", IMAGING, 2, "tag"),
    ("<answer>**C**</answer>", IMAGING, 2, "tag"),
    ("<answer>C) CT</answer>", IMAGING, 2, "tag"),
    ("<answer>C)CT</answer>", IMAGING, 2, "tag"),
    ("<answer>c) ct.</answer>", IMAGING, 2, "tag"),
    ("<answer>C: CT</answer>", IMAGING, 2, "tag"),
    ("<answer>C. CT</answer>", IMAGING, 2, "tag"),
    ("<answer>C - CT</answer>", IMAGING, 2, "tag"),
    ("<answer>C). CT</answer>", IMAGING, 2, "tag"),
    ("<answer>A) -5 HU</answer>", ("-5 HU", "5 HU"), 0, "tag"),
    ("<answer>B) 5 HU</answer>", ("-5 HU", "5 HU"), 1, "tag"),
    ("<answer>-5 HU</answer>", ("-5 HU", "5 HU"), 0, "tag"),
    ("<answer>C CT</answer>", IMAGING, 2, "tag"),
    ("<answer>(C)\nCT</answer>", IMAGING, 2, "tag"),
    ("<answer>C\nbecause bone is bright</answer>", IMAGING, 2, "tag"),
    ("<answer>C) because bone is bright</answer>", IMAGING, 2, "tag"),
    ("<answer>C) CT, not MRI</answer>", IMAGING, 2, "tag"),
    ("<answer>CT</answer>", IMAGING, 2, "tag"),
    ("<answer>ct.</answer>", IMAGING, 2, "tag"),
    ('<answer>"Ultrasound"</answer>', IMAGING, 3, "tag"),
    ("<answer>The answer is C</answer>", IMAGING, 2, "tag"),
    ("<answer>Answer: CT</answer>", IMAGING, 2, "tag"),
    ("<answer>Option C</answer>", IMAGING, 2, "tag"),
    ("<answer>\\boxed{C}</answer>", IMAGING, 2, "tag"),
    ("<ANSWER>C</ANSWER>", IMAGING, 2, "tag"),
    ("<answer>Ｃ</answer>", IMAGING, 2, "tag"),
    ("<answer><answer>C</answer></answer>", IMAGING, 2, "tag"),
    ("<answer>C</answer>. Again: <answer>C) CT</answer>", IMAGING, 2, "tag"),
    ("I was told <answer>letter</answer>: <answer>B</answer>", IMAGING, 1, "tag"),
    ("A or D? <answer>B</answer> D", IMAGING, 1, "tag"),
    ("C</answer>", IMAGING, 2, "tag"),
    ("<think>A or D</think>\nC</answer>", IMAGING, 2, "tag"),
    ("<answer>B</answer><think>It is not C) CT.</think>", IMAGING, 1, "tag"),
    ("<answer>B</answer> and so <answer>", IMAGING, 1, "tag"),
    # tag: options with brackets, commas, stops, articles, letters
    ("<answer>Electrocardiogram (ECG)</answer>", STAINS, 0, "tag"),
    ("<answer>B) Hematoxylin and eosin (H&E)</answer>", STAINS, 1, "tag"),
    ("<answer>C) Diabetic macular edema (DME), severe</answer>", STAINS, 2, "tag"),
    ("<answer>diabetic macular edema (DME), severe.</answer>", STAINS, 2, "tag"),
    ("<answer>No, It’s normal</answer>", YES_NO, 1, "tag"),
    ("<answer>B) No, it's normal.</answer>", YES_NO, 1, "tag"),
    ("<answer>A large mass</answer>", MASSES, 1, "tag"),
    ("<answer>B) A large mass</answer>", MASSES, 1, "tag"),
    ("<answer>C) Large mass</answer>", MASSES, 2, "tag"),
    ("<answer>E. coli</answer>", FIVE, 0, "tag"),
    ("<answer>A) E. coli</answer>", FIVE, 0, "tag"),
    ("<answer>AB</answer>", BLOOD, 2, "tag"),
    ("<answer>B) A</answer>", BLOOD, 1, "tag"),
    ("<answer>hepatitis B</answer>", HEPATITIS, 2, "tag"),
    ("<answer>B) I can't say for sure, but it looks abnormal.</answer>", HEDGES, 1, "tag"),
    # boxed
    ("So \\boxed{C}", IMAGING, 2, "boxed"),
    ("So $\\boxed{\\text{C}}$.", IMAGING, 2, "boxed"),
    ("So \\boxed{\\textbf{(C) CT}} it is.", IMAGING, 2, "boxed"),
    ("\\boxed{MRI}\nC", IMAGING, 1, "boxed"),
    # letter on the last line
    ("C", IMAGING, 2, "last_line"),
    ("c", IMAGING, 2, "last_line"),
    ("C.", IMAGING, 2, "last_line"),
    ("(C)", IMAGING, 2, "last_line"),
    ("C)", IMAGING, 2, "last_line"),
    ("A", IMAGING, 0, "last_line"),
    ("C) CT", IMAGING, 2, "last_line"),
    ("C, because bone is bright", IMAGING, 2, "last_line"),
    ("Bone is bright.\n\nC\n\n", IMAGING, 2, "last_line"),
    ("Bone is bright. The answer is C.", IMAGING, 2, "last_line"),
    ("The correct answer is (C) CT because bone is bright.", IMAGING, 2, "last_line"),
    ("**Final Answer: C**", IMAGING, 2, "last_line"),
    ("Option C is correct.", IMAGING, 2, "last_line"),
    ("The answer is C, since option A is wrong.", IMAGING, 2, "last_line"),
    ("I cannot determine the sequence, but the answer is B", IMAGING, 1, "last_line"),
    ("<think>A) X-ray?\nThe answer is A.</think>\nC", IMAGING, 2, "last_line"),
    ("It is A) X-ray, hmm</think>\nC", IMAGING, 2, "last_line"),
    ("The answer is A large mass", ("Large mass", "Small cyst"), 0, "last_line"),
    # exact option text
    ("CT", IMAGING, 2, "option_text"),
    ("ct.", IMAGING, 2, "option_text"),
    ("The answer is CT.", IMAGING, 2, "option_text"),
    ("Answer: ultrasound\nThe probe is convex.", IMAGING, 3, "option_text"),
    ("C) CT\nBone is bright.", IMAGING, 2, "option_text"),
    ("A large mass", MASSES, 1, "option_text"),
    ("No", PLAIN_YES_NO, 1, "option_text"),
    ("I can't say for sure, but it looks abnormal.", HEDGES, 1, "option_text"),
    ("hepatitis B", HEPATITIS, 2, "option_text"),
]

UNPARSED = [
    ("", IMAGING, "none"),
    ("   \n ", IMAGING, "none"),
    ("The image shows a pelvis.", IMAGING, "none"),
    ("This is a CT of the chest.", IMAGING, "none"),
    ("CTT", IMAGING, "none"),
    ("A large mass", IMAGING, "none"),
    ("A mass is seen", IMAGING, "none"),
    ("a mass is seen in the left lung", IMAGING, "none"),
    ("There is no abnormality here.", PLAIN_YES_NO, "none"),
    ("Nodule, unknown", PLAIN_YES_NO, "none"),
    ("I know not.", PLAIN_YES_NO, "none"),
    ("It is hepatitis B", ("MRI", "CT"), "none"),
    ("E", IMAGING, "last_line_no_option"),
    ("The answer is F.", IMAGING, "last_line_no_option"),
    ("C", PLAIN_YES_NO, "last_line_no_option"),
    ("<answer>E</answer>", IMAGING, "tag_no_option"),
    ("<answer>C</answer>", PLAIN_YES_NO, "tag_no_option"),
    ("<answer>pelvis</answer>", IMAGING, "tag_no_match"),
    ("<answer>A large mass</answer>", IMAGING, "tag_no_match"),
    ("<answer>A large mass</answer>\nC", IMAGING, "tag_no_match"),
    ("<answer>the lesion is no cyst</answer>", PLAIN_YES_NO, "tag_no_match"),
    ("<answer>None of these</answer>", ("None", "No"), "tag_no_match"),
    ("<answer>B) CT</answer>", IMAGING, "tag_conflict"),
    ("<answer>B) CT of the chest</answer>", IMAGING, "tag_conflict"),
    ("<answer>B CT</answer>", IMAGING, "tag_conflict"),
    ("<answer>A) 5 HU</answer>", ("-5 HU", "5 HU"), "tag_conflict"),
    ("<answer>A, C</answer>", IMAGING, "tag_conflict"),
    ("<answer>B or C</answer>", IMAGING, "tag_conflict"),
    ("<answer>B) MRI or C) CT</answer>", IMAGING, "tag_conflict"),
    ("<answer>A</answer> no, <answer>B</answer>", IMAGING, "tag_conflict"),
    ("<think><answer>A</answer>?</think><answer>B</answer>", IMAGING, "tag_conflict"),
    ("<answer>A</answer> no, <answer>B", IMAGING, "tag_conflict"),
    ("<answer>A</answer> I cannot say. <answer>cannot be determined</answer>", IMAGING, "tag_conflict"),
    ("<answer>A</answer>", BLOOD, "tag_conflict"),
    ("<answer>C", IMAGING, "tag_unclosed"),
    ("<answer>C) CT", IMAGING, "tag_unclosed"),
    ("I think <answer>", IMAGING, "tag_unclosed"),
    ("\\boxed{A} or \\boxed{B}", IMAGING, "boxed_conflict"),
    ("\\boxed{7}\nC", IMAGING, "boxed_no_match"),
    ("A or B", IMAGING, "last_line_conflict"),
    ("The answer is A. The answer is B.", IMAGING, "last_line_conflict"),
    ("B) CT", IMAGING, "last_line_conflict"),
    ("X-ray\nMRI", IMAGING, "option_text_conflict"),
    ("A) X-ray\nB) MRI\nC) CT\nand what else", IMAGING, "option_text_conflict"),
    ("CT\nI cannot determine the answer.", IMAGING, "option_text_conflict"),
    ("<think>The answer is C.", IMAGING, "none"),
    ("<think>C) CT\n\\boxed{C}", IMAGING, "none"),
    ("<think>It is C) CT.</think>", IMAGING, "none"),
    ("I cannot see any fracture.", PLAIN_YES_NO, "none"),
]

ABSTAIN = [
    ("I cannot determine the answer from this image.", IMAGING, None, "refusal"),
    ("I'm unable to answer.", IMAGING, None, "refusal"),
    ("I’m sorry, but I can’t assist with that.", IMAGING, None, "refusal"),
    ("As a language model I am not able to interpret medical images.", IMAGING, None, "refusal"),
    ("It is not possible to determine the modality.", IMAGING, None, "refusal"),
    ("There is not enough information.", IMAGING, None, "refusal"),
    ("I cannot determine whether this is CT or MRI.", IMAGING, None, "refusal"),
    ("<think>CT?</think>\nThe diagnosis cannot be determined.", IMAGING, None, "refusal"),
    ("I don't know.", IMAGING, None, "refusal"),
    ("<answer>I cannot determine this</answer>", IMAGING, None, "tag"),
    ("<answer>not sure</answer>", IMAGING, None, "tag"),
    ("\\boxed{\\text{cannot be determined}}", IMAGING, None, "boxed"),
    ("<answer>C</answer>", UNSURE, 2, "tag"),
    ("<answer>Cannot be determined</answer>", UNSURE, 2, "tag"),
    ("C) Cannot be determined.", UNSURE, 2, "last_line"),
]


@pytest.mark.parametrize(("text", "options", "index", "rule"), CHOSEN)
def test_chosen(text: str, options: tuple[str, ...], index: int, rule: str) -> None:
    parsed = parse(text, options)
    assert (parsed.choice, parsed.status, parsed.rule) == (index, "chosen", rule)


@pytest.mark.parametrize(("text", "options", "rule"), UNPARSED)
def test_unparsed(text: str, options: tuple[str, ...], rule: str) -> None:
    parsed = parse(text, options)
    assert (parsed.choice, parsed.status, parsed.rule) == (None, "unparsed", rule)


@pytest.mark.parametrize(("text", "options", "index", "rule"), ABSTAIN)
def test_abstain(text: str, options: tuple[str, ...], index: int | None, rule: str) -> None:
    parsed = parse(text, options)
    assert (parsed.choice, parsed.status, parsed.rule) == (index, "abstain", rule)


@pytest.mark.parametrize(
    ("text", "index", "rule"),
    [
        ("C<think>not A</think>", 2, "last_line"),
        ("<think>A?</think>C", 2, "last_line"),
        ("C\n<think>then A) X-ray was cut", 2, "last_line"),
        ("<answer>C</answer><think>was cut", 2, "tag"),
    ],
)
def test_think_after_reads_what_stands_outside_the_thoughts(text: str, index: int, rule: str) -> None:
    parsed = parse(text, IMAGING, "think_after")
    assert (parsed.choice, parsed.rule) == (index, rule)


def test_refusals_are_told_from_hedges_and_findings() -> None:
    for refusal in ("Unable to determine from the image", "cannot be reliably determined", "Not enough information"):
        assert is_refusal(refusal)
        assert is_refusal_option(refusal)
    for other in (*HEDGES, "I cannot see any fracture", "Unknown primary", "No abnormality", "Not sure, but an MRI"):
        assert not is_refusal_option(other), other
    for other in ("The probe is unable to reach it", "I can't say for sure, but it is CT", "not infiltrating"):
        assert not is_refusal(other), other


@pytest.mark.parametrize("piece", ["<answer>", "</answer>", "\\boxed{", "answer is ", "A, ", "cannot ", " ", "A)"])
def test_a_reply_caught_in_a_loop_is_read_in_bounded_time(piece: str) -> None:
    start = time.process_time()
    parse(piece * 5000, IMAGING)
    assert time.process_time() - start < 2


def test_same_text_twice_but_for_the_stop_needs_the_literal_one() -> None:
    options = ("No", "No.")
    assert parse("<answer>No.</answer>", options).choice == 1
    assert parse("<answer>No</answer>", options).choice == 0
    assert parse("<answer>no,</answer>", options).rule == "tag_conflict"


WRITTEN = ["{}", " {} ", "{})", "{}.", "({})", "{}:", "**{}**", "\n{}\n"]
FRAMES = ["<answer>{}</answer>", "<think>A or B?</think><answer>{}</answer>", "\\boxed{{{}}}", "Because.\n{}"]
words = st.text("abcdefghilmnorstuvz (),&-.", min_size=3, max_size=20).filter(
    lambda s: len(re.findall(r"[a-z]", s)) > 2 and not re.match(r"\s*\(?[a-j]\b", s) and not is_refusal_option(s)
)
menus = st.lists(words, min_size=2, max_size=10, unique_by=lambda s: " ".join(re.findall(r"[a-z]+", s)))


@settings(deadline=None)
@given(options=menus, data=st.data())
def test_every_letter_in_every_form_reads_back(options: list[str], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(options) - 1))
    letter = data.draw(st.sampled_from([LETTERS[index], LETTERS[index].lower()]))
    written = data.draw(st.sampled_from(WRITTEN)).format(letter)
    text = data.draw(st.sampled_from(FRAMES)).format(written)
    parsed = parse(text, options)
    assert (parsed.choice, parsed.status) == (index, "chosen")


@settings(deadline=None)
@given(options=menus, data=st.data())
def test_every_option_text_reads_back_with_and_without_its_letter(options: list[str], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(options) - 1))
    for form in ("<answer>{text}</answer>", "<answer>{letter}) {text}</answer>", "<answer>{letter}: {text}</answer>"):
        parsed = parse(form.format(letter=LETTERS[index], text=options[index]), options)
        assert (parsed.choice, parsed.rule) == (index, "tag"), form


@settings(deadline=None)
@given(text=st.text(max_size=200), options=menus)
def test_any_text_is_read_without_fail_and_twice_the_same(text: str, options: list[str]) -> None:
    first = parse(text, options)
    assert first == parse(text, options)
    assert (first.choice is not None) or first.status in ("abstain", "unparsed")


def _trap_options(problem: str) -> list[str]:
    """Options of a Med-R1 problem "stem A)..., B)..., C)...", cut at the letters in order."""
    cuts, at = [], 0
    for letter in "ABCD":
        match = re.compile(rf"(?:^|,? ){letter}\)").search(problem, at)
        if match is None:
            break
        cuts.append((match.start(), match.end()))
        at = match.end()
    ends = [start for start, _ in cuts[1:]] + [len(problem)]
    return [problem[begin:end].strip() for (_, begin), end in zip(cuts, ends, strict=True)]


def test_parser_traps(shared_data: Path) -> None:
    rows = json.loads((shared_data / "omnimedvqa_splits" / "parser_traps.json").read_text(encoding="utf-8"))
    assert len(rows) >= 70
    for row in rows:
        options = _trap_options(row["row"]["problem"])
        letter = row["row"]["solution"].split()[1]
        gold = LETTERS.index(letter)
        for text in (
            row["row"]["solution"],
            f"<answer>{letter}) {options[gold]}</answer>",
            f"<answer>{options[gold]}</answer>",
            f"I looked at it.\n{letter}) {options[gold]}",
            options[gold],
        ):
            parsed = parse(text, options)
            assert (parsed.choice, parsed.status) == (gold, "chosen"), (text, options)
        rival = (gold + 1) % len(options)
        assert parse(f"<answer>{letter}) {options[rival]}</answer>", options).status == "unparsed"
