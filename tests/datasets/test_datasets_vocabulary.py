import pytest

from medproof.datasets.vocabulary import canonical, compatible, spoken


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tumour (FLAIR abnormality)", "tumour"),
        ("lung adenocarcinoma (patient-level; tumour need not be visible in this slice)", "lung adenocarcinoma"),
        ("diabetic macular edema (retinopathy grade not given)", "diabetic macular edema"),
        ("pituitary tumor", "pituitary tumour"),
        ("COVID-19 pneumonia with ARDS", "COVID-19 pneumonia"),
        ("melanoma", "melanoma"),
    ],
)
def test_remarks_go_and_synonyms_merge(name: str, expected: str) -> None:
    assert canonical(name) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("melanocytic nevus", "common melanocytic nevus"),
        ("pneumonia", "COVID-19 pneumonia"),
        ("lung", "chest"),
        ("brain", "pituitary gland"),
        ("melanoma", "melanoma"),
    ],
)
def test_nested_answers_exclude_each_other_as_options(first: str, second: str) -> None:
    assert not compatible(first, second)
    assert not compatible(second, first)


def test_unrelated_answers_may_stand_together() -> None:
    assert compatible("melanoma", "melanocytic nevus")
    assert compatible("chest", "brain")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CT", "CT"),
        ("X-Ray", "x-ray"),
        ("Fundus Photography", "fundus photography"),
        ("COVID-19 pneumonia", "COVID-19 pneumonia"),
        ("Pneumocystis pneumonia", "pneumocystis pneumonia"),
        ("T1 post-contrast", "t1 post-contrast"),
    ],
)
def test_running_text_is_lower_case_but_for_acronyms(name: str, expected: str) -> None:
    assert spoken(name) == expected
