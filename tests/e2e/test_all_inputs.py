"""`medproof run` on all eight modalities, and on a DICOM and a NIfTI made here."""

import json
from pathlib import Path

import numpy as np
import pytest

from medproof.cli import invoke
from medproof.datasets import write_items
from medproof.records import Item
from medproof.runs.store import read_run
from medproof.scoring.summary import summarise

pytestmark = pytest.mark.slow


def test_eight_modalities(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["run", "--model", "nano", "--data", str(shared_data), "--limit", "48", "--device", "cpu"]
    argv += ["--condition", "clean", "--condition", "blank", "--condition", "pgd(linf,8/255,2)"]
    assert invoke([*argv, "--out", str(tmp_path / "r")]) == 0
    data = read_run(tmp_path / "r")
    assert len({item.modality for item in data.items}) == 8
    summary = summarise(data)
    assert not summary["incomplete"]
    assert set(summary["conditions"]["clean"]["by"]["modality"]) == {item.modality for item in data.items}
    assert invoke(["report", str(tmp_path / "r"), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "report.html").stat().st_size > 100_000
    assert json.loads((tmp_path / "page" / "report.json").read_text())["conditions"]["clean"]["n"] == 48
    capsys.readouterr()


def write_dicom(path: Path, removed: str = "YES") -> None:
    pydicom = pytest.importorskip("pydicom", reason="package absent: pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.Modality, file.PatientIdentityRemoved = "CT", removed
    file.Rows, file.Columns, file.SamplesPerPixel = 96, 128, 1
    file.PhotometricInterpretation, file.PixelRepresentation = "MONOCHROME2", 1
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.RescaleSlope, file.RescaleIntercept, file.RescaleType = 1, -1024, "HU"
    rows = np.hypot(*np.mgrid[-48:48, -64:64])
    file.PixelData = np.where(rows < 40, 1060, 30).astype(np.int16).tobytes()
    file.save_as(path, enforce_file_format=True)


def write_nifti(path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="package absent: nibabel")
    volume = np.random.default_rng(0).normal(100, 20, (64, 80, 5)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([2.0, 2.0, 5.0, 1.0])), path)


def item(identifier: str, image: str, modality: str, **more: object) -> Item:
    return Item.model_validate(
        {
            "id": identifier,
            "image": image,
            "case": identifier,
            "modality": modality,
            "question_type": "Modality Recognition",
            "question": "What kind of imaging is this?",
            "options": ("CT", "MRI", "Ultrasound"),
            "answer": modality,
            **more,
        }
    )


def test_dicom_and_nifti(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dicom(tmp_path / "a.dcm")
    write_nifti(tmp_path / "b.nii.gz")
    items = [item("dicom", "a.dcm", "CT", window="soft-tissue"), item("nifti", "b.nii.gz", "MRI", frame=2)]
    write_items(tmp_path / "items.jsonl", items)
    argv = ["run", "--model", "nano", "--data", str(tmp_path / "items.jsonl"), "--device", "cpu", "--split", "all"]
    argv += ["--condition", "clean", "--condition", "pgd(linf,8/255,2)", "--out", str(tmp_path / "r")]
    assert invoke(argv) == 0, capsys.readouterr().err
    data = read_run(tmp_path / "r")
    assert len(data.responses) == 4
    assert all(response.error is None and response.text for response in data.responses)
    shown = {(data.path / "images" / f"{r.image_sha256}.png").is_file() for r in data.responses}
    assert shown == {True}


def test_identified_dicom_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dicom(tmp_path / "a.dcm", removed="NO")
    write_items(tmp_path / "items.jsonl", [item("dicom", "a.dcm", "CT")])
    argv = ["run", "--model", "nano", "--data", str(tmp_path / "items.jsonl"), "--split", "all", "--condition", "clean"]
    assert invoke([*argv, "--out", str(tmp_path / "r")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "--allow-identified" in said[0]
    assert not (tmp_path / "r").exists()
    assert invoke([*argv, "--device", "cpu", "--allow-identified", "--out", str(tmp_path / "r")]) == 0
