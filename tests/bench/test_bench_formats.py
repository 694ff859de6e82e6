"""Corpora of users: COCO boxes, NIfTI label maps, DICOM segmentations, JSON lines with defaults."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from medproof.bench import Built, build, task_of
from medproof.bench.segmentation import dicom_segmentation, fullest_slice, geometry, nifti_slice
from medproof.errors import UserError
from planted_corpus import BOXES, SIDE, planted, write

QUARTERS = ("upper left", "upper right", "lower left", "lower right")


def answers(built: Built, slug: str) -> dict[str, str]:
    return {item.case: item.answer for item in built.bench.items if task_of(item) == slug}


def test_coco_boxes(tmp_path: Path) -> None:
    images: list[dict[str, Any]] = []
    annotations = []
    (tmp_path / "pictures").mkdir()
    for number in range(24):
        name = f"pictures/{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 200, (SIDE, SIDE)).astype(np.uint8)).save(
            tmp_path / name
        )
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE, "patient": f"P{number}"})
        x0, y0, x1, y1 = BOXES[number % 4]
        annotations.append({"image_id": number, "category_id": 7, "bbox": [x0, y0, x1 - x0, y1 - y0]})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "gallstone"}]}
    (tmp_path / "coco.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "bench.yaml").write_text(
        "form: coco\nannotations: coco.json\nlesions: [gallstone]\n"
        "defaults: {modality: Ultrasound, anatomy: abdomen}\n",
        encoding="utf-8",
    )
    built = build(str(tmp_path / "bench.yaml"), tmp_path / "out")
    assert built.misses == ()
    found = answers(built, "lesion_quarter")
    assert len(found) >= 16
    assert all(answer == QUARTERS[int(case) % 4] for case, answer in found.items())
    assert any("gallstone" in item.question for item in built.bench.items)
    (tmp_path / "coco.json").write_text('{"images": []}', encoding="utf-8")
    with pytest.raises(UserError, match=r"coco.json is no COCO detection file"):
        build(str(tmp_path), None)


def volumes(folder: Path, number: int) -> dict[str, Any]:
    """A volume of 5 axial slices and its label map: a block that is largest in slice 3."""
    image = np.random.default_rng(number).integers(0, 300, (SIDE, SIDE, 5)).astype(np.int16)
    labels = np.zeros((SIDE, SIDE, 5), dtype=np.uint8)
    at = 40 if number % 2 else 8
    labels[at : at + 16, 40:56, 3] = 2
    labels[at : at + 8, 40:48, 2] = 2
    for name, volume in (("image", image), ("labels", labels)):
        nifti = nibabel.Nifti1Image(volume, np.diag([0.8, 0.8, 3.0, 1.0]))
        nifti.set_sform(nifti.affine, code=1)
        nibabel.save(nifti, folder / f"{name}{number}.nii.gz")
    return {
        "id": f"v{number}",
        "image": f"image{number}.nii.gz",
        "mask": f"labels{number}.nii.gz",
        "mask_classes": {"2": "tumour"},
        "patient": f"P{number}",
    }


def test_nifti_label_maps(tmp_path: Path) -> None:
    rows = [volumes(tmp_path, number) for number in range(16)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "bench.yaml").write_text(
        "annotations: rows.jsonl\ndefaults: {modality: MRI, anatomy: brain}\n", encoding="utf-8"
    )
    built = build(str(tmp_path), tmp_path / "out")
    assert built.misses == ()
    assert {item.frame for item in built.bench.items} == {3}
    side = answers(built, "lesion_side")
    assert len(side) == 14  # 5 of 16 patients are test, and blocks are pairs
    # x runs to the patient's right: beyond the middle of the array is the patient's right
    assert all(
        answer == ("patient's right" if int(case[1:]) % 2 else "patient's left") for case, answer in side.items()
    )
    quadrant = answers(built, "lesion_quadrant")
    assert quadrant
    assert all(answer.endswith("anterior") for answer in quadrant.values())
    item = next(item for item in built.bench.items if item.evidence is not None and item.evidence.mask)
    assert item.evidence is not None
    stored = np.asarray(Image.open(tmp_path / "out" / str(item.evidence.mask)))
    assert (stored == 2).sum() == 256
    assert item.evidence.mask_classes == {"2": "tumour"}


def test_nifti_pieces(tmp_path: Path) -> None:
    row = volumes(tmp_path, 0)
    labels, image = tmp_path / row["mask"], tmp_path / row["image"]
    assert fullest_slice(labels) == 3
    assert set(np.unique(nifti_slice(labels, 3))) == {0, 2}
    assert geometry(image, 3).spacing_mm == pytest.approx(0.8)
    assert geometry(image, 3).convention == "axial"


def dicom(path: Path, uid: str, sop_class: str, pixels: np.ndarray, **elements: Any) -> pydicom.Dataset:
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds = pydicom.Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID, ds.PatientIdentityRemoved, ds.Modality = sop_class, uid, "YES", "CT"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    if pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OB"
    for name, value in elements.items():
        setattr(ds, name, value)
    ds.save_as(path, enforce_file_format=True)
    return ds


def refers(uid: str, segment: int) -> pydicom.Dataset:
    """The functional groups of one frame: which segment, drawn on which image."""
    source, derivation, number, group = (pydicom.Dataset() for _ in range(4))
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    derivation.SourceImageSequence = [source]
    number.ReferencedSegmentNumber = segment
    group.DerivationImageSequence, group.SegmentIdentificationSequence = [derivation], [number]
    return group


def test_dicom_segmentation(tmp_path: Path) -> None:
    picture = np.full((32, 32), 60, dtype=np.uint8)
    dicom(
        tmp_path / "image.dcm",
        "1.2.1",
        "1.2.840.10008.5.1.4.1.1.2",
        picture,
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[0.5, 0.5],
    )
    dicom(tmp_path / "other.dcm", "1.2.2", "1.2.840.10008.5.1.4.1.1.2", picture)
    frames = np.zeros((3, 32, 32), dtype=np.uint8)
    frames[0, 4:10, 4:10] = frames[1, 20:24, 20:30] = frames[2, :8, :8] = 255
    segments = []
    for segment, name in ((1, "nodule"), (2, "vessel")):
        one = pydicom.Dataset()
        one.SegmentNumber, one.SegmentLabel = segment, name
        segments.append(one)
    dicom(
        tmp_path / "seg.dcm",
        "1.2.9",
        "1.2.840.10008.5.1.4.1.1.66.4",
        frames,
        SegmentSequence=segments,
        PerFrameFunctionalGroupsSequence=[refers("1.2.1", 1), refers("1.2.1", 2), refers("1.2.77", 1)],
    )
    labels, names = dicom_segmentation(tmp_path / "seg.dcm", tmp_path / "image.dcm", None)
    assert names == {1: "nodule", 2: "vessel"}
    assert ((labels == 1).sum(), (labels == 2).sum()) == (36, 40)  # the third frame is of another image
    assert geometry(tmp_path / "image.dcm", None).convention == "axial"
    assert geometry(tmp_path / "image.dcm", None).spacing_mm == 0.5
    assert geometry(tmp_path / "other.dcm", None).convention is None
    with pytest.raises(UserError, match=r"segments another image than other.dcm"):
        dicom_segmentation(tmp_path / "seg.dcm", tmp_path / "other.dcm", None)
    with pytest.raises(UserError, match="is no DICOM segmentation"):
        dicom_segmentation(tmp_path / "image.dcm", tmp_path / "image.dcm", None)


def test_licence_classes_and_defaults(tmp_path: Path) -> None:
    rows = planted()
    for place, (row, _, _) in enumerate(rows):
        row["license_class"] = "permissive" if place % 8 < 4 else "unstated"
        del row["modality"]
    root = write(tmp_path, rows)
    (root / "bench.yaml").write_text(
        "license_classes: [permissive]\ndefaults: {modality: Ultrasound}\n", encoding="utf-8"
    )
    built = build(str(root), None)
    assert {item.license_class for item in built.bench.items} == {"permissive"}
    assert {item.modality for item in built.bench.items} == {"Ultrasound"}
