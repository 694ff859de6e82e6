"""Exports read back by the tools they are for, where installed, and by their formats' rules everywhere."""

import base64
import hashlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from medproof.cli import invoke
from medproof.conditions import Context, prepare, resolve
from medproof.datasets import load, write_items
from medproof.evaluation.images import ImageLoader
from medproof.interchange.asked_again import Asked
from medproof.interchange.croissant import croissant
from medproof.interchange.licences import identifier, page
from medproof.interchange.source import held_back, read_source
from medproof.models.baselines import load_baseline
from medproof.records import Item
from medproof.runs.store import read_run
from medproof.scoring.scored import score


def export(*words: object) -> int:
    return invoke(["export", *map(str, words)])


def by_id(items: Any) -> dict[str, Item]:
    return {item.id: item for item in items}


# -- what was asked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", ["clean", "blank", "noimage", "hint(wrong,peer)", "rotated(1)"])
def test_conversations_are_made_again_exactly(bench: Path, run: Path, condition: str) -> None:
    data = load(bench / "items.jsonl")
    test = data.filter(split="test")
    model = load_baseline("majority", data.items)
    context = Context(dataset=test, seed=0, mode="direct", model=model, load=ImageLoader(test, None))
    expected = {v.item.id: v.messages for v in prepare(resolve(condition), test.items, context) if v is not None}
    assert Asked(read_run(run)).under(condition) == expected
    assert expected


def test_what_cannot_be_proven_is_not_told(run: Path) -> None:
    """Of a run with other weights no key follows; the words stay untold."""
    stored = read_run(run)
    altered = type(stored)({**stored.meta, "weights_hash": "0" * 64}, stored.items, stored.responses, stored.path)
    assert Asked(altered).under("hint(wrong,peer)") == {}


# -- Inspect ------------------------------------------------------------------------------------------------------


def test_inspect_reads_its_logs(run: Path, tmp_path: Path) -> None:
    """Every response is a sample; clean is epoch 1 beside each condition; scores, choices and pictures come back."""
    log = pytest.importorskip("inspect_ai.log", reason="no inspect-ai: pip install 'medproof[inspect]'")
    assert export(run, "--to", "inspect", "--out", tmp_path, "--copy-all") == 0
    paths = sorted(tmp_path.glob("*.eval"))
    assert paths[0].stem == "01_blank"
    assert len(paths) == 5
    stored = read_run(run)
    scored = score(stored)
    values = {"correct": "C", "wrong": "I", "abstain": "N", "unparsed": "N"}
    for path in paths:
        found = log.read_eval_log(str(path), resolve_attachments=True)
        first, second = found.eval.metadata["epochs"].values()
        assert (first, found.status, found.eval.model) == ("clean", "success", "majority")
        for epoch, key in ((1, first), (2, second)):
            samples = {sample.id: sample for sample in found.samples if sample.epoch == epoch}
            outcomes = scored.outcomes[key]
            assert samples.keys() == outcomes.keys()
            assert {i: s.scores["outcome"].value for i, s in samples.items()} == {
                i: values[o.status] for i, o in outcomes.items()
            }
            accuracy = next(s.metrics["accuracy"].value for s in found.results.scores if s.name == key)
            assert accuracy == sum(o.status == "correct" for o in outcomes.values()) / len(outcomes)
            sample = samples["case01/shade"]
            response = scored.responses[key]["case01/shade"]
            assert sample.output.completion == response.text
            assert sample.metadata["pixels_sha256"] == response.image_sha256
            assert sample.choices[ord(sample.target) - ord("A")] == scored.items["case01/shade"].answer
            assert sample.metadata["messages"] == "as asked"
            if key == "noimage":
                assert isinstance(sample.input[0].content, str)
            else:
                png = (run / "images" / f"{response.image_sha256}.png").read_bytes()
                assert base64.b64decode(sample.input[0].content[0].image.split(",")[1]) == png


def test_inspect_absent_is_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "inspect_ai" else find(name, *a))
    assert export(run, "--to", "inspect", "--out", tmp_path / "x") == 2
    complaint = [line for line in capsys.readouterr().err.splitlines() if line.startswith("medproof: ")]
    assert complaint == ["medproof: export to inspect needs inspect-ai: pip install 'medproof[inspect]'"]
    assert not (tmp_path / "x").exists()


# -- Hugging Face -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copy_all", [False, True])
def test_hf_folder_holds_every_item(
    bench: Path, tmp_path: Path, copy_all: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(bench, "--to", "hf", "--out", tmp_path, *(["--copy-all"] if copy_all else [])) == 0
    assert "4 items are not under a permissive licence (4 research-only)" in capsys.readouterr().err
    items = by_id(load(bench / "items.jsonl").items)
    seen = set()
    for split in ("train", "test"):
        table = pq.read_table(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
        for row in table.to_pylist():
            item = items[row["id"]]
            seen.add(item.id)
            assert item.split == split
            assert (row["question"], tuple(row["options"]), row["answer"]) == (item.question, item.options, item.answer)
            assert row["options"][row["answer_index"]] == item.answer
            held = item.license_class != "permissive" and not copy_all
            picture = None if held else (bench / item.image).read_bytes()
            assert (row["image"] or {}).get("bytes") == picture
    assert seen == set(items)


def test_hf_card_has_a_yaml_header(bench: Path, tmp_path: Path) -> None:
    assert export(bench, "--to", "hf", "--out", tmp_path) == 0
    first = {path.name: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    header = yaml.safe_load((tmp_path / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert header["license"] == ["cc-by-4.0", "other"]
    assert header["configs"][0]["data_files"][1] == {"split": "test", "path": "data/test-*.parquet"}
    assert export(bench, "--to", "hf", "--out", tmp_path) == 0
    assert first == {path.name: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}


READ = """
import sys, datasets
for folder in sys.argv[1:]:
    found = datasets.load_dataset(folder, cache_dir=folder + "_cache")
    print({split: len(rows) for split, rows in found.items()}, found["test"][0]["image"].size)
"""


def test_datasets_loads_the_folder(bench: Path, run: Path, tmp_path: Path) -> None:
    """In a process of its own: beside these tests `datasets` is a folder of ours."""
    if not any(found.metadata["Name"] == "datasets" for found in importlib.metadata.distributions()):
        pytest.skip("no datasets: pip install datasets")
    folders = [str(tmp_path / "bench"), str(tmp_path / "run")]
    for source, folder in zip((bench, run), folders, strict=True):
        assert export(source, "--to", "hf", "--out", folder) == 0
    command = [sys.executable, "-c", READ, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["{'train': 12, 'test': 12} (40, 30)", "{'test': 12} (40, 30)"]


# -- Croissant ----------------------------------------------------------------------------------------------------


def test_croissant_says_what_is_there(bench: Path, tmp_path: Path) -> None:
    """Every reference leads somewhere, every file has its hash, and the paths start from the card's own folder."""
    assert export(bench, "--to", "card", "--out", tmp_path / "card.json") == 0
    card = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert card["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert card["license"] == ["for research", "https://creativecommons.org/licenses/by/4.0/"]
    assert len(card["distribution"]) == 1 + 12
    for entry in card["distribution"]:
        content = (tmp_path / entry["contentUrl"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    splits, questions = card["recordSet"]
    assert [row["splits/name"] for row in splits["data"]] == ["test", "train"]
    known = {entry["@id"] for entry in card["distribution"]} | {"splits/name"}
    for field in questions["field"]:
        assert field["source"]["fileObject"]["@id"] in known
        assert field["source"]["extract"]["column"] in Item.model_fields
        assert field.get("references", {"field": {"@id": "splits/name"}})["field"]["@id"] in known
    ids = [entry["@id"] for entry in card["distribution"]] + [f["@id"] for f in questions["field"]]
    assert len(set(ids)) == len(ids)


def test_mlcroissant_reads_the_records(bench: Path, run: Path, tmp_path: Path) -> None:
    mlc = pytest.importorskip("mlcroissant", reason="no mlcroissant: pip install mlcroissant")
    for source, n in ((bench, 24), (run, 12)):
        out = tmp_path / source.name
        assert export(source, "--to", "card", "--out", out) == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            records = list(mlc.Dataset(jsonld=str(out / "croissant.json")).records("questions"))
        ids = {row["questions/id"] for row in records}
        assert len(ids) == len(records) == n


def test_card_of_a_run_names_its_own_files(run: Path) -> None:
    card = croissant(read_source(run), run)
    assert {entry["contentUrl"].split("/")[0] for entry in card["distribution"]} == {"items.parquet", "images"}


# -- licences and bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "link"),
    [
        ("CC BY 3.0 (TCIA)", "cc-by-3.0", "https://creativecommons.org/licenses/by/3.0/"),
        ("CC BY-NC-SA 4.0", "cc-by-nc-sa-4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
        ("CC0 1.0 (ISIC)", "cc0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("MIT (re-release)", "mit", "https://spdx.org/licenses/MIT.html"),
        ("Apache-2.0 (repository)", "apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
        ("no restrictions on use", "other", "no restrictions on use"),
        ("", "other", "not stated"),
    ],
)
def test_licences(text: str, name: str, link: str) -> None:
    assert (identifier(text), page(text)) == (name, link)


def test_permissive_items_are_no_warning(bench: Path) -> None:
    items = [item for item in load(bench / "items.jsonl").items if item.license_class == "permissive"]
    assert held_back(items) is None


@pytest.mark.parametrize(
    ("to", "what", "complaint"),
    [
        ("hf", "nowhere", "is neither a run nor a benchmark"),
        ("inspect", "bench", "is a benchmark: Inspect logs are made of a run"),
        ("card", "empty", "is neither a run nor a benchmark"),
    ],
)
def test_bad_input(
    bench: Path, tmp_path: Path, to: str, what: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    source = bench if what == "bench" else tmp_path / what
    assert export(source, "--to", to, "--out", tmp_path / "out") == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unknown_target_and_dry_run(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(bench, "--to", "pdf", "--out", tmp_path / "out") == 2
    assert "'pdf' is not one of" in capsys.readouterr().err
    assert export(bench, "--to", "hf", "--out", tmp_path / "out", "--dry-run") == 0
    assert "would export 24 items of shades" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_an_image_that_leaves_its_folder_is_refused(bench: Path, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(bench / "images")
    write_items(tmp_path / "items.jsonl", load(bench / "items.jsonl").items)
    assert export(tmp_path, "--to", "hf", "--out", tmp_path / "out") == 2
