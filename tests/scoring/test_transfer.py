"""Matrices of planted runs: accuracies, pooling and who belongs in which row, derived by hand."""

from typing import Any

import pytest

from medproof.scoring.transfer import ALL, BASE, transfer


def run(by: dict[str, tuple[int, int]], trained: dict[str, Any] | None, weights: str = "x") -> dict[str, Any]:
    """A summary: per modality (right, n), the same for clean and blank."""
    shares = {name: {"accuracy": right / n, "n": n} for name, (right, n) in by.items()}
    training = None if trained is None else {"filters": trained, "init_weights_hash": "start"}
    return {
        "conditions": {key: {"by": {"modality": shares, "question_type": {}}} for key in ("clean", "blank")},
        "provenance": {"weights_hash": weights, "training": training},
    }


def trained_on(*modalities: str, **more: Any) -> dict[str, Any]:
    return {"modalities": list(modalities) or None, "question_types": None, **more}


CT = run({"CT": (9, 10), "MRI": (2, 10)}, trained_on("CT"))
MRI = run({"CT": (5, 10), "MRI": (8, 10)}, trained_on("MRI"))


def test_cells_overall_and_elsewhere() -> None:
    found = transfer([MRI, CT])
    assert found is not None
    assert set(found) == {"modality"}
    table = found["modality"]["clean"]
    assert table["columns"] == ["CT", "MRI"]
    row = table["rows"][0]
    assert row["train"] == "CT"
    assert row["cells"]["CT"]["accuracy"] == pytest.approx(0.9)
    assert row["cells"]["MRI"] == {"accuracy": 0.2, "ci95": pytest.approx([0.0567, 0.5098], abs=1e-4), "n": 10}
    assert (row["overall"]["accuracy"], row["overall"]["n"]) == (pytest.approx(11 / 20), 20)
    assert (row["elsewhere"]["accuracy"], row["elsewhere"]["n"]) == (pytest.approx(0.2), 10)


def test_the_common_start_and_the_model_of_everything_are_rows_of_their_own() -> None:
    base = run({"CT": (3, 10), "MRI": (4, 10)}, None, weights="start")
    everything = run({"CT": (9, 10), "MRI": (9, 10)}, trained_on())
    found = transfer([everything, CT, base, MRI])
    assert found is not None
    rows = found["modality"]["clean"]["rows"]
    assert [row["train"] for row in rows] == [BASE, "CT", "MRI", ALL]
    assert rows[0]["elsewhere"] is None


def test_runs_that_do_not_belong_are_left_out() -> None:
    two = run({"CT": (1, 10), "MRI": (1, 10)}, trained_on("CT", "MRI"))
    narrowed = run({"CT": (1, 10), "MRI": (1, 10)}, trained_on("MRI", question_types=["Disease Diagnosis"]))
    stranger = run({"CT": (1, 10), "MRI": (1, 10)}, None, weights="another")
    found = transfer([CT, two, MRI, narrowed, stranger])
    assert found is not None
    assert [row["train"] for row in found["modality"]["clean"]["rows"]] == ["CT", "MRI"]


def test_the_blind_matrix_stands_beside_and_only_shared_conditions_count() -> None:
    sparse = {**CT, "conditions": {"clean": CT["conditions"]["clean"]}}
    assert list(transfer([CT, MRI])["modality"]) == ["clean", "blank"]  # type: ignore[index]
    assert list(transfer([sparse, MRI])["modality"]) == ["clean"]  # type: ignore[index]


def test_one_run_is_no_matrix() -> None:
    assert transfer([CT]) is None
    assert transfer([]) is None
