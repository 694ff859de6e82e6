"""Bad input: one line on stderr that names the thing and what to do, exit code 2, and no model is loaded."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from cli_fakes import Cli, FakeModel

from medproof.cli import invoke

pytestmark = pytest.mark.usefixtures("no_model")


def run_args(data: object, *more: object) -> tuple[object, ...]:
    return ("run", "--model", "nano", "--data", data, "--condition", "clean", "--out", "r", *more)


def test_missing_folder(cli: Cli) -> None:
    for words in (run_args("nowhere"), ("audit", "nowhere")):
        ran = cli(*words)
        assert ran.code == 2
        assert "nowhere" in ran.complaint


def test_empty_manifest(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty" / "manifest").mkdir(parents=True)
    (tmp_path / "empty" / "manifest" / "ct.jsonl").write_text("")
    ran = cli(*run_args("empty"))
    assert ran.code == 2
    assert "empty" in ran.complaint


def test_a_path_out_of_the_root_as_text(cli: Cli, data: Path) -> None:
    text = data.read_text(encoding="utf-8").replace("images/03.png", "../outside.png")
    data.write_text(text, encoding="utf-8")
    ran = cli(*run_args(data))
    assert ran.code == 2
    assert "../outside.png" in ran.complaint


def test_a_path_out_of_the_root_through_a_link(cli: Cli, data: Path, tmp_path: Path) -> None:
    image = data.parent / "images" / "03.png"
    shutil.move(image, tmp_path / "outside.png")
    image.symlink_to(tmp_path / "outside.png")
    ran = cli(*run_args(data))
    assert ran.code == 2
    assert "images/03.png" in ran.complaint


def empty_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels: what a decompression bomb looks like from its header."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_picture_too_large(cli: Cli, data: Path) -> None:
    (data.parent / "images" / "03.png").write_bytes(empty_png(30_000, 30_000))
    ran = cli(*run_args(data))
    assert ran.code == 2
    assert "03.png" in ran.complaint
    assert "more pixels than the bound" in ran.complaint


def test_dicom_with_identity(cli: Cli, data: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName = "Somebody"
    dataset.Rows = dataset.Columns = 32
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = np.full((32, 32), 90, np.uint8).tobytes()
    dataset.save_as(data.parent / "images" / "03.dcm", enforce_file_format=True)
    data.write_text(data.read_text(encoding="utf-8").replace("03.png", "03.dcm"), encoding="utf-8")
    ran = cli(*run_args(data))
    assert ran.code == 2
    assert "--allow-identified" in ran.complaint
    assert "Somebody" not in ran.err
    assert cli(*run_args(data, "--allow-identified", "--dry-run")).code == 0


def test_unknown_condition_suggests_the_right_one(cli: Cli) -> None:
    ran = cli("run", "--model", "nano", "--data", "sample", "--condition", "shufled", "--out", "r")
    assert ran.code == 2
    assert "did you mean shuffled?" in ran.complaint


@pytest.mark.parametrize("condition", ["pgd(linf,0.03,20)", "random_sign(8.5/255)", "pgd(linf,1/100,20)"])
def test_eps_must_be_whole_grey_levels(cli: Cli, condition: str) -> None:
    ran = cli("run", "--model", "nano", "--data", "sample", "--condition", condition, "--out", "r")
    assert ran.code == 2
    assert "/255" in ran.complaint


def test_images_forgotten(cli: Cli, data: Path, tmp_path: Path) -> None:
    questions = tmp_path / "elsewhere" / "items.jsonl"
    questions.parent.mkdir()
    shutil.move(data, questions)
    ran = cli(*run_args(questions))
    assert ran.code == 2
    assert "--images ROOT" in ran.complaint
    assert cli(*run_args(questions, "--images", data.parent, "--dry-run")).code == 0


def test_images_root_that_is_not_there(cli: Cli, data: Path) -> None:
    ran = cli(*run_args(data, "--images", "gone"))
    assert ran.code == 2
    assert "gone" in ran.complaint


def test_a_split_without_items(cli: Cli, data: Path) -> None:
    lines = data.read_text(encoding="utf-8").splitlines()
    data.write_text("\n".join(line for line in lines if json.loads(line)["split"] == "train"), encoding="utf-8")
    ran = cli(*run_args(data))
    assert ran.code == 2
    assert "--split train" in ran.complaint


def test_not_a_run(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for words in (("report", "folder"), ("report", "gone"), ("report", "folder", "--dry-run")):
        ran = cli(*words)
        assert ran.code == 2
        assert str(words[1]) in ran.complaint


def test_an_audit_that_is_none(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    ran = cli("report", "r", "--audit", "x.json")
    assert ran.code == 2
    assert "medproof audit" in ran.complaint


def test_misspelt_recipe_key(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("optim: {stps: 3}\n")
    ran = cli("train", "r.yaml", "--dry-run")
    assert ran.code == 2
    assert "steps" in ran.complaint
    ran = cli("train", "gone.yaml")
    assert ran.code == 2
    assert "gone.yaml" in ran.complaint


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("run", "--nonsense"), "--nonsense"),
        (("run", "--data", "sample"), "--model"),
        (("run", "--model", "nano", "--limit", "0"), "limit"),
        (("run", "--model", "nano", "--split", "dev"), "split"),
        (("nosuch",), "nosuch"),
        (("report",), "RUN"),
    ],
)
def test_bad_usage_is_one_line_too(cli: Cli, words: tuple[str, ...], part: str) -> None:
    ran = cli(*words)
    assert ran.code == 2
    assert part in ran.complaint
    assert "--help" in ran.complaint


def test_a_failure_of_the_program_is_code_1_and_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the roof\nis on fire")

    monkeypatch.setattr("medproof.datasets.load", fail)
    ran = cli("audit", "sample")
    assert ran.code == 1
    assert "RuntimeError: the roof is on fire" in ran.complaint
    assert "MEDPROOF_DEBUG=1" in ran.complaint
    monkeypatch.setenv("MEDPROOF_DEBUG", "1")
    assert "Traceback" in cli("audit", "sample").err


def test_unknown_model(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """With the real loader, in a process without network."""
    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code = invoke(
        ["run", "--model", "./nano-2", "--data", str(data), "--condition", "clean", "--out", str(data.parent / "r")]
    )
    assert code == 2
    assert "nano-2" in capsys.readouterr().err


class TestDiskFull:
    """A tiny tmpfs where it can be mounted; the system call that fails in its place where not."""

    def test_run_on_a_full_disk(
        self, cli: Cli, data: Path, fake_model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small = tmp_path / "small"
        small.mkdir()
        mounted = os.geteuid() == 0 and _mount(small)
        try:
            if not mounted:
                monkeypatch.setattr("medproof.runs.atomic.write_all", _no_space)
            ran = cli("run", "--model", "fake", "--data", data, "--condition", "clean", "--out", small / "r")
        finally:
            if mounted:
                subprocess.run(["umount", str(small)], check=True)
        assert ran.code == 2
        assert "disk full" in ran.complaint
        assert "run the same command again" in ran.complaint


def _mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    return shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_the_installed_command_exits_with_2() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from medproof.cli import main; main()", "audit", "nowhere"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("medproof: ")
    assert len(result.stderr.splitlines()) == 1
