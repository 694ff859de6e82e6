"""The committed nano that was fine-tuned under noise: small, safe, and it says how it was trained."""

import json

from medproof.models.builtin import checkpoint


def test_the_checkpoint_is_small_and_safe_and_says_how_it_was_trained() -> None:
    files = [path for path in checkpoint("nano-noise").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja"}
    training = json.loads((checkpoint("nano-noise") / "training.json").read_text(encoding="utf-8"))
    assert (training["kind"], training["name"], training["init"]) == ("sft", "nano_noise_sft", "nano")
    assert training["filters"]["license_classes"] == ["permissive"]
    assert training["recipe"]["adversarial"]["kind"] == "noise"
