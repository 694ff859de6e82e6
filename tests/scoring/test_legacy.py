"""The scorers of others: they always name an option, which is why they stay out of every headline."""

import ast
from pathlib import Path

import pytest

import medproof.scoring
from medproof.errors import UserError
from medproof.scoring.legacy import closest_string, prefix_likelihood


def test_closest_string_answers_even_a_refusal() -> None:
    assert closest_string("ultrasonography", ("MRI", "Ultrasound", "CT")) == 1
    assert closest_string("I cannot determine this.", ("MRI", "Ultrasound", "CT")) in (0, 1, 2)
    assert closest_string("", ("MRI", "CT")) == 0


def test_prefix_likelihood_compares_means() -> None:
    assert prefix_likelihood([[-1.0, -1.0, -1.0], [-2.0]]) == 0
    assert prefix_likelihood([[-1.0], [-1.0]]) == 0
    with pytest.raises(UserError, match="every option"):
        prefix_likelihood([[-1.0], []])


def test_nothing_of_scoring_uses_them() -> None:
    for file in Path(medproof.scoring.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
                assert not any("legacy" in name for name in names), file.name
