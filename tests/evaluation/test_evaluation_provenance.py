import json
import platform
import subprocess
import sys
from pathlib import Path

from fake_evaluation import CONDITIONS, FakeModel, make_dataset

from medproof.evaluation.provenance import hardware, run_meta, training, versions
from medproof.runs.store import RunStore

META_KEYS = {
    "schema",
    "model",
    "model_name",
    "mode",
    "dataset",
    "split",
    "limit",
    "seed",
    "conditions",
    "decoding",
    "weights_hash",
    "processor_hash",
    "dataset_fingerprint",
    "quarantined",
    "versions",
    "hardware",
    "created",
    "text_prior",
    "command",
    "grid",
}


def test_versions() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert {"medproof", "torch", "numpy", "pyarrow"} <= set(found)


def test_hardware() -> None:
    block = hardware()
    assert block["cores"] >= 1
    assert block["memory_gib"] > 0
    assert block["device"] == "cpu"
    assert block["device_name"] == block["cpu"] != ""
    assert json.loads(json.dumps(block)) == block
    assert hardware("mps")["device_name"] == "mps"


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, medproof.evaluation.loop, medproof.evaluation.provenance as p; p.versions(); p.hardware('cuda');"
        "print({'torch', 'transformers', 'pyarrow', 'duckdb'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_run_meta_is_the_run_json_of_a_run(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, 3)
    meta = run_meta(
        FakeModel(),
        "fake",
        dataset,
        CONDITIONS[:2],
        mode="direct",
        seed=3,
        command=["medproof", "run", "--api-key", "0123456789abcdef"],
    )
    assert set(meta) == META_KEYS
    store = RunStore(tmp_path / "run").create(meta, dataset.items)
    assert store.meta["command"] == ["medproof", "run", "--api-key", "***"]
    assert store.meta["conditions"] == ["clean", "blank"]
    assert store.meta["decoding"] == {"max_new_tokens": 8, "temperature": 0.0, "top_p": 1.0}
    again = run_meta(FakeModel(), "fake", dataset, CONDITIONS[:3], mode="direct", seed=3)
    assert store.create(again, dataset.items).meta["conditions"] == ["clean", "blank", "noise"]
    assert "resumed" not in store.meta


def test_a_model_that_was_trained_here_brings_what_it_was_trained_on(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert training(str(folder)) is None
    described = {"kind": "grpo", "filters": {"modalities": ["CT"]}, "init_weights_hash": "ab"}
    (folder / "training.json").write_text(json.dumps(described), encoding="utf-8")
    meta = run_meta(FakeModel(), str(folder), make_dataset(tmp_path, 2), CONDITIONS[:1], mode="direct", seed=0)
    assert meta["training"] == described


def test_a_description_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for content in ("{", "[1]", "", '{"a": "' + "x" * 2**20 + '"}'):
        (tmp_path / "training.json").write_text(content, encoding="utf-8")
        assert training(str(tmp_path)) is None
    (tmp_path / "training.json").write_bytes(b"\xff\xfe")
    assert training(str(tmp_path)) is None
    assert training("owner/name") is None
    assert training("nano") is None
