"""The attack section: what it calls its numbers, every attack with its own line, and where the change lies."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_runs import ALL, ATTACK, MANY, UNION, make_item, make_run, make_sanity
from test_report_build import Page, page_of

from medproof.records import Box, Evidence, pixels_sha256
from medproof.report import build
from medproof.report.attack_plots import family_words
from medproof.report.energy import evidence_energy
from medproof.report.wording import in_short, in_words
from medproof.runs.store import RunStore, read_run
from medproof.sanity.catalogue import CATALOGUE
from medproof.scoring.scored import score


def built(tmp_path: Path, **changes: object) -> tuple[Page, str, dict]:
    """Page, its whole source, and its numbers."""
    html, numbers = build([make_run(tmp_path / "run", n=8, **changes)], tmp_path)  # type: ignore[arg-type]
    return page_of(html), html.read_text(encoding="utf-8"), json.loads(numbers.read_text(encoding="utf-8"))


def test_robust_accuracy_is_said_where_every_check_passed(tmp_path: Path) -> None:
    page, _, numbers = built(tmp_path, sanity=make_sanity())
    assert "RA is robust accuracy." in page.text
    assert numbers["robust"]["validation"]["state"] == "validated"
    assert page.text.count("passed") >= len(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_one_failed_check_takes_the_words_from_the_whole_page(tmp_path: Path, name: str) -> None:
    page, source, _ = built(tmp_path, sanity=make_sanity(name))
    doc = CATALOGUE[name]
    assert not re.search(r"robust\s+accuracy", page.text, re.IGNORECASE)
    assert "robust accuracy" not in re.sub(r"\s+", " ", source.lower())
    assert f'accuracy under these attacks (not validated: "{doc.title}" failed)' in page.text
    assert f"{doc.means} {doc.remedy}" in page.text
    assert f'The attack is not strong enough to be believed ("{doc.title}" failed)' in page.text


def test_without_checks_the_page_says_so(tmp_path: Path) -> None:
    page, source, _ = built(tmp_path)
    assert "robust accuracy" not in source.lower()
    assert "RA is accuracy under these attacks (not checked: run with --sanity)" in page.text
    assert "Whether the attack is strong enough was not checked" in page.text


def test_a_check_that_was_not_run_leaves_it_unchecked(tmp_path: Path) -> None:
    page, source, _ = built(tmp_path, sanity=make_sanity(not_run="planted"))
    assert "robust accuracy" not in source.lower()
    assert '(not checked: "A planted adversary is found" not run)' in page.text


def test_runs_are_named_apart(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", n=6, sanity=make_sanity()), make_run(tmp_path / "b", n=6, mode="think")]
    text = page_of(build(runs, tmp_path)[0]).text
    assert "nano · direct: RA is robust accuracy." in text
    assert "nano · think: RA is accuracy under these attacks (not checked" in text


def test_every_attack_has_its_own_name_and_line(tmp_path: Path) -> None:
    page, source, numbers = built(tmp_path, conditions=tuple(MANY), rates=MANY, sanity=make_sanity())
    robust = numbers["robust"]
    words = [in_words(key) for key in robust["attacks"]]
    assert len(set(words)) == len(words)
    titles = [title for title in re.findall(r"<title[^>]*>([^<]*)</title>", source) if "attack size" in title]
    assert [title.rpartition("(")[2] for title in titles] == ["L∞)", "L2)"]
    for norm in ("linf", "l2"):
        beside = [f for f in robust["curves"] if f["norm"] == norm and not f["family"].startswith("random")]
        legend = [family_words(family, beside) for family in beside]
        assert len(set(legend)) == len(legend)
    assert "250 queries" not in source
    assert "2\u202f000 queries" in page.text or "2 000 queries" in page.text
    assert [(t["norm"], t["eps_255"]) for t in robust["threats"]] == [("l2", 510.0), ("linf", 2.0), ("linf", 8.0)]
    assert "fgsm margin" in page.text
    assert robust["attacks"][UNION]["members"]["fgsm_margin"]["run"] == 8
    assert "more restarts of 20 steps" in page.text


@pytest.mark.parametrize(
    ("key", "words", "short"),
    [
        ("pgd(linf,8/255,20,objective=answer)", "PGD L∞ 8/255, 20 steps, objective answer", "PGD 8/255 answer"),
        ("pgd(l2,2,20)", "PGD L2 2, 20 steps", "PGD L2 2"),
        ("cw(l2,100)", "C&W L2, 100 steps", "C&W L2"),
        (
            "square(linf,8/255,500,reads=letter)",
            "Square attack L∞ 8/255, 500 queries, reads letter",
            "Square attack 8/255",
        ),
        ("fgsm(linf,8/255)", "FGSM L∞ 8/255", "FGSM 8/255"),
        ("union(linf,8/255,20)", "Union of attacks L∞ 8/255, 20 steps", "Union of attacks 8/255"),
    ],
)
def test_attacks_in_words(key: str, words: str, short: str) -> None:
    assert in_words(key).replace("\u00a0", " ") == words
    assert in_short(key).replace("\u00a0", " ") == short


def test_energy_of_a_change_inside_the_box_and_of_an_even_one(tmp_path: Path) -> None:
    """Boxes cover the left half; the attack moves the left half only, the noise every pixel."""
    half = Evidence(boxes=(Box(label="x", xyxy=(0.0, 0.0, 32.0, 64.0)),))
    run = read_run(make_run(tmp_path / "run", n=3, conditions=("clean", ATTACK, "random_sign(8/255)")))
    clean = np.full((56, 56, 3), 100, np.uint8)
    left, even = clean.copy(), clean + 8
    left[:, :28] += 8
    pictures = {"clean": clean, ATTACK: left, "random_sign(8/255)": even}
    by_sha = {pixels_sha256(pixels): (pixels, b"") for pixels in pictures.values()}
    scored = score(
        replace(
            run,
            items=tuple(item.model_copy(update={"evidence": half}) for item in run.items),
            responses=tuple(
                response.model_copy(update={"image_sha256": pixels_sha256(pictures[response.condition])})
                for response in run.responses
            ),
        )
    )
    found = evidence_energy(scored, by_sha.get, [ATTACK])
    assert found[ATTACK] == {"energy": 1.0, "area": 0.5, "n": 3, "control": False}
    assert found["random_sign(8/255)"] == {"energy": 0.5, "area": 0.5, "n": 3, "control": True}


def test_energy_needs_boxes_and_a_change(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n=4, conditions=("clean", "blank", ATTACK))
    store, scored = RunStore(run), score(read_run(run))

    def load(sha: str) -> tuple[np.ndarray, bytes] | None:
        pixels = store.image(sha)
        return None if pixels is None else (pixels, b"")

    found = evidence_energy(scored, load, [ATTACK])
    assert found[ATTACK]["n"] == 2, "items with odd numbers have boxes"
    assert found[ATTACK]["area"] == pytest.approx(32 * 34 / 64**2, abs=0.02)
    assert evidence_energy(scored, lambda _: None, [ATTACK]) == {}
    unmoved = {key: dict(by_item) for key, by_item in scored.responses.items()}
    unmoved[ATTACK] = dict(unmoved["clean"])
    assert evidence_energy(replace(scored, responses=unmoved), load, [ATTACK]) == {}
    assert make_item(0).evidence is None


def test_all_without_attacks_have_no_section(tmp_path: Path) -> None:
    page, _, _ = built(tmp_path, conditions=tuple(key for key in ALL if not key.startswith("pgd")))
    assert not {"robust", "sanity"} & {attributes.get("id") for _, attributes in page.tags}
