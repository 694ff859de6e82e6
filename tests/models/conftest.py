"""A nano with random weights, saved and loaded as a folder; views of unequal sizes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medproof.records import Item, Mode, View


def make_item(
    identifier: str = "case/modality", options: tuple[str, ...] = ("CT", "MRI", "Ultrasound", "X-ray")
) -> Item:
    return Item(
        id=identifier,
        image="x.png",
        case="case",
        modality="CT",
        question_type="Modality Recognition",
        question="Which imaging technique made this picture?",
        options=options,
        answer=options[0],
        facts={"modality": "CT", "region": "lung", "finding": "pulmonary nodule", "where": "upper left of the image"},
    )


@pytest.fixture(scope="session")
def random_nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a nano with random weights and a tokenizer trained on a few prompts."""
    from medproof.models import nano
    from medproof.models.loading import save_folder
    from medproof.models.prompts import question_text, target_text

    modes: tuple[Mode, ...] = ("direct", "think", "think_after")
    item = make_item()
    tokenizer = nano.build_tokenizer([question_text(item, m) + target_text(item, m) for m in modes] * 4)
    folder = tmp_path_factory.mktemp("random_nano")
    net = nano.build_net(nano.build_config(tokenizer), seed=7)
    save_folder(folder, net, tokenizer, nano.processor_config(nano.GRID))
    return folder


@pytest.fixture(scope="session")
def make_view() -> Callable[..., View]:
    from medproof.models.prompts import messages

    def build(
        size: tuple[int, int] | None = (112, 112), seed: int = 0, mode: Mode = "direct", item: Item | None = None
    ) -> View:
        item = item or make_item(f"case-{seed}/modality")
        image = None if size is None else np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        return View(item, "clean", mode, messages(item, mode, image=size is not None), image)

    return build
