"""A tiny annotated corpus made on disk and a recipe that trains nano on it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.recipe import Recipe

MODALITIES = {"CT": "lung", "MRI": "brain", "Ultrasound": "breast", "X-Ray": "chest"}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four modalities, six train and two test images each, told apart by brightness."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "manifest").mkdir()
    for number, (modality, anatomy) in enumerate(MODALITIES.items()):
        slug = modality.lower().replace("-", "")
        (root / "images" / slug).mkdir(parents=True)
        rows = []
        for i in range(8):
            noise = np.random.default_rng([number, i]).integers(0, 40, (60, 60 + 20 * (i % 2), 3))
            name = f"images/{slug}/{slug}-{i}.png"
            Image.fromarray((noise + 50 * number).astype(np.uint8)).save(root / name)
            rows.append(
                {
                    "id": f"{slug}-{i}",
                    "image": name,
                    "width": noise.shape[1],
                    "height": noise.shape[0],
                    "modality": modality,
                    "anatomy": anatomy,
                    "label": "no diagnosis given",
                    "patient": f"{slug}-p{i}",
                    "split": "train" if i < 6 else "test",
                    "source": "made/here:x",
                    "license": "made in a test",
                    "license_class": "permissive",
                }
            )
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (root / "manifest" / f"{slug}.jsonl").write_text(lines, encoding="utf-8")
    return root


@pytest.fixture
def recipe(corpus: Path) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "tiny",
            "seed": 3,
            "data": {"train": str(corpus), "modes": {"direct": 0.5, "think": 0.5}, "augment": {"crop": 0.1}},
            "optim": {"steps": 4, "batch_size": 8, "warmup_steps": 1, "lr": 1e-3},
            "checkpoint": {"every": 2},
        }
    )


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2-VL of two hundred thousand random weights with a tokenizer of nano's kind."""
    from medproof.models import nano
    from tiny_families import save_family

    folder = tmp_path_factory.mktemp("tiny_model")
    save_family("qwen2_vl", folder, nano.build_tokenizer(["<answer>A</answer> <think>so</think> Which modality?"] * 4))
    return folder


@pytest.fixture(scope="session")
def reward_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with reward functions: `low`, and some that misbehave."""
    from grpo_runs import REWARDS

    path = tmp_path_factory.mktemp("rewards") / "own.py"
    path.write_text(REWARDS, encoding="utf-8")
    return path


@pytest.fixture
def grpo_recipe(corpus: Path, tiny_model: Path, reward_file: Path) -> GrpoRecipe:
    """Four steps of four groups of four completions of at most eight tokens."""
    return GrpoRecipe.model_validate(
        {
            "name": "tiny",
            "seed": 3,
            "model": {"init": str(tiny_model)},
            "data": {"train": str(corpus), "modes": {"direct": 0.5, "think": 0.5}},
            "optim": {"steps": 4, "batch_size": 4, "lr": 1e-3},
            "grpo": {"num_generations": 4, "max_completion_length": 8},
            "rewards": [f"{reward_file}:low"],
            "checkpoint": {"every": 2},
        }
    )
