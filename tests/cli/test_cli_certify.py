"""`medproof certify`: from a plan to certificates, their table and their report; bad input costs one line."""

import json
from pathlib import Path

import pytest
from cli_fakes import Cli, FakeModel

from fake_voter import HalfSpace
from medproof.runs.certificates_file import NAME, read_certificates

PLAN = "sequential(target=0.25,last=512)"


@pytest.fixture
def voter(monkeypatch: pytest.MonkeyPatch) -> HalfSpace:
    model = HalfSpace(at=30.0)
    monkeypatch.setattr("medproof.models.load", lambda *_, **__: model)
    return model


def words(data: object, *more: object, out: str = "r") -> tuple[object, ...]:
    return ("certify", "--model", "nano", "--data", data, "--sigma", "0.5", "--plan", PLAN, "--out", out, *more)


def test_certificates_table_report_and_the_next_command(cli: Cli, data: Path, voter: HalfSpace) -> None:
    ran = cli(*words(data))
    assert ran.code == 0, ran.err
    assert "blank image" in ran.out
    assert ran.out.rstrip().endswith("next: medproof report r")
    (one,) = read_certificates(Path("r"))
    assert len(one.certificates) == 12
    assert {c.stop for c in one.certificates} == {"proven"}
    assert cli("report", "r").code == 0
    block = json.loads(Path("r/report.json").read_text())["certified"]
    assert block["mean_draws"] == sum(c.n for c in one.certificates) / 12
    assert block["sets"][0]["blank"]["n"] == 12
    assert 'id="certified"' in Path("r/report.html").read_text()


def test_running_again_draws_nothing_and_changes_nothing(cli: Cli, data: Path, voter: HalfSpace) -> None:
    cli(*words(data))
    before, passes = Path("r", NAME).read_bytes(), len(voter.sizes)
    assert cli(*words(data)).code == 0
    assert Path("r", NAME).read_bytes() == before
    assert len(voter.sizes) == passes


def test_the_logged_votes_are_looked_into_again_without_a_model(
    cli: Cli, data: Path, voter: HalfSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli(*words(data))
    monkeypatch.setattr("medproof.models.load", lambda *_, **__: pytest.fail("a model was loaded"))
    again = ("certify", "--from-counts", "--sigma", "0.5", "--out", "r")
    ran = cli(*again, "--plan", "fixed(32)", "--alpha", "0.01")
    assert ran.code == 0
    assert sorted(one.certificates[0].alpha for one in read_certificates(Path("r"))) == [0.001, 0.01]
    refused = cli(*again, "--plan", "fixed(5000)")
    assert refused.code == 2
    assert "no votes" in refused.complaint


def test_shards_make_the_whole(cli: Cli, data: Path, voter: HalfSpace) -> None:
    cli(*words(data))
    for part in ("1/2", "2/2"):
        assert cli(*words(data, "--shard", part, out="s")).code == 0
    assert Path("s", NAME).read_bytes() == Path("r", NAME).read_bytes()


def test_a_dry_run_loads_no_model_and_writes_nothing(cli: Cli, data: Path, no_model: None) -> None:
    ran = cli(*words(data, "--dry-run", "--sigma", "0.25"))
    assert ran.code == 0
    assert "would certify 12 items (12 images)" in ran.out
    assert "at most 512 draws a decision" in ran.out
    assert "sigma 0.5" in ran.out and "sigma 0.25" in ran.out  # noqa: PT018
    assert not Path("r").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--sigma", "0"), "sigma"),
        (("--sigma", "-1"), "sigma"),
        (("--alpha", "0"), "alpha"),
        (("--alpha", "1.5"), "alpha"),
        (("--plan", "fixed(12)"), "draw at least 13"),
        (("--plan", "sequential(target=9,last=64)"), "larger sigma"),
        (("--plan", "often"), "is no plan"),
        (("--bound", "tight"), "is no bound"),
        (("--shard", "3/2"), "no shard"),
        (("--mode", "think"), "--mode direct"),
    ],
)
def test_bad_input_costs_one_line(cli: Cli, data: Path, no_model: None, more: tuple[str, ...], told: str) -> None:
    ran = cli(*words(data, *more))
    assert ran.code == 2
    assert told in ran.complaint
    assert not Path("r").exists()


def test_without_a_model_there_must_be_votes(cli: Cli, no_model: None) -> None:
    assert "--from-counts" in cli("certify", "--sigma", "0.5", "--out", "r").complaint
    assert "no run at r" in cli("certify", "--from-counts", "--sigma", "0.5", "--out", "r").complaint


def test_an_api_model_has_no_option_argmax(cli: Cli, data: Path) -> None:
    told = cli("certify", "--model", "openai:http://127.0.0.1:9/v1#m", "--data", data, "--sigma", "0.5", "--out", "r")
    assert told.code == 2
    assert "log-probabilities" in told.complaint
    assert "greedy" in told.complaint


def test_a_model_that_reads_files_certifies_its_replies(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    ran = cli(*words(data, "--base", "greedy", "--sigma", "0.02", "--limit", "4", "--plan", "fixed(40)"))
    assert ran.code == 0, ran.err
    assert {one.base for one in read_certificates(Path("r"))} == {"greedy"}
    assert "unparsed" in read_certificates(Path("r"))[0].certificates[0].counts


def test_an_image_that_cannot_be_decoded_is_told_and_the_rest_is_kept(cli: Cli, data: Path, voter: HalfSpace) -> None:
    broken = data.parent / "images" / "03.png"
    broken.write_bytes(broken.read_bytes()[:120])
    ran = cli(*words(data, "--no-blind"))
    assert ran.code == 2
    assert "q03" in ran.complaint
    assert len(read_certificates(Path("r"))[0].certificates) == 11
