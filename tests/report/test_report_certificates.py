"""The block `certified` and its page: the numbers of the certificates, the blind baseline across the plot."""

from pathlib import Path

import pytest

from fake_voter import SIGMA, HalfSpace, certify_fake, make_dataset, open_run
from medproof.records import Response
from medproof.report.build import build
from medproof.report.certificates import certified_json, certified_views, point_at
from medproof.report.run_view import views
from medproof.runs.certificates_file import CertificateSet, add_certificates, read_certificates
from medproof.runs.store import read_run
from medproof.scoring.scored import score
from medproof.scoring.summary import summarise_scored
from medproof.smoothing.plans import Fixed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight certified items on four images; blank answers that are right on the first half."""
    root = tmp_path_factory.mktemp("certified")
    (root / "data").mkdir()
    dataset = make_dataset(root / "data")
    certificates, _ = certify_fake(root / "run", dataset, plan=Fixed(500))
    with open_run(root / "run", HalfSpace(), dataset) as store:
        store.append([blank(item.id, number < 4) for number, item in enumerate(dataset.items)])
        store.update_meta(lambda meta: {**meta, "conditions": ["blank"], "text_prior": {"accuracy": 0.5, "n": 8}})
    pictures = {c.item_id: (c.item_id[:5], 28, 28) for c in certificates}
    add_certificates(root / "run", [CertificateSet("option_argmax", False, tuple(certificates), pictures)])
    return root / "run"


def blank(item_id: str, right: bool) -> Response:
    scores = (-0.1, -3.0) if right else (-3.0, -0.1)
    return Response(
        key=item_id,
        item_id=item_id,
        condition="blank",
        image_sha256="0" * 64,
        mode="direct",
        text="<answer>A</answer>",
        option_logprobs=scores,
    )


def test_the_block_says_what_the_certificates_say(run: Path) -> None:
    block = certified_json(score(read_run(run)), run)
    assert block is not None
    (one,) = block["sets"]
    certificates = read_certificates(run)[0].certificates
    right = [c for c in certificates if c.predicted == "high"]
    assert block["mean_draws"] == 500
    assert one["n"] == 8
    assert point_at(one, 0.0)["certified_accuracy"] == len(right) / 8
    assert one["ACR"]["value"] == pytest.approx(sum(c.radius for c in right) / 8)
    assert one["blank"]["value"] == 0.5
    needs = [c for c in right if int(c.item_id[-2:]) >= 4]
    assert point_at(one, 0.0)["RA_star"] == len(needs) / 8
    assert one["grey_rms"] == [pytest.approx(255 / (28 * 28 * 3) ** 0.5)] * 2
    assert set(one["by"]["modality"]) == {"CT", "MRI"}


def test_between_two_points_the_curve_is_never_too_high(run: Path) -> None:
    block = certified_json(score(read_run(run)), run)
    assert block is not None
    (one,) = block["sets"]
    certificates = read_certificates(run)[0].certificates
    for radius in (0.0, 0.1, SIGMA, 0.37, 5.0):
        exact = sum(c.predicted == "high" and c.radius >= radius for c in certificates) / 8
        assert point_at(one, radius)["certified_accuracy"] <= exact


def test_the_page_shows_curve_baseline_and_scheme(run: Path, tmp_path: Path) -> None:
    page, _ = build([run], tmp_path)
    text = page.read_text(encoding="utf-8")
    assert 'href="#certified"' in text
    assert "blank image 50" in text and "text prior 50" in text  # noqa: PT018
    assert "fixed(500), bound simultaneous, α 0.001 per item" in text
    assert "Draws per decision" in text
    assert 'class="band run0"' in text


def test_a_run_without_certificates_has_no_section(run: Path, tmp_path: Path) -> None:
    plain = tmp_path / "run"
    plain.mkdir()
    for name in ("run.json", "items.parquet"):
        (plain / name).write_bytes((run / name).read_bytes())
    assert certified_json(score(read_run(plain)), plain) is None
    page, _ = build([plain], tmp_path)
    assert 'id="certified"' not in page.read_text(encoding="utf-8")


def test_sets_of_one_sigma_are_told_apart(run: Path) -> None:
    scored = score(read_run(run))
    block = certified_json(scored, run)
    assert block is not None
    (one,) = block["sets"]
    other = {**one, "plan": "fixed(9)"}
    summary = {**summarise_scored(scored), "certified": {"mean_draws": 1.0, "sets": [one, other]}}
    (view,) = certified_views(views([summary]))
    assert [s.name for s in view.sets] == [f"σ {SIGMA}, plan fixed(500)", f"σ {SIGMA}, plan fixed(9)"]


def test_other_schemes_are_kept_and_the_same_one_replaced(run: Path, tmp_path: Path) -> None:
    (one,) = read_certificates(run)
    other = CertificateSet("option_argmax", True, one.certificates, one.pictures)
    add_certificates(tmp_path, [one])
    add_certificates(tmp_path, [other])
    add_certificates(tmp_path, [one])
    assert read_certificates(tmp_path) == [one, other]
