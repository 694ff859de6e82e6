"""What is learnt: golden labels of one row, weights, and the loss against a plain implementation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medproof.models import nano
from medproof.models.chat import Chat
from medproof.models.prompts import answer_prefix, messages, question_text, rationale, target_text
from medproof.records import Item, Mode
from medproof.training.examples import Example
from medproof.training.losses import weighted_token_loss
from medproof.training.targets import IGNORE, collate, make_target

MODES: tuple[Mode, ...] = ("direct", "think", "think_after")
ITEM = Item(
    id="us-1/diagnosis",
    image="images/malignant/us-1.png",
    case="us-1",
    modality="Ultrasound",
    question_type="Disease Diagnosis",
    question="What does this scan show?",
    options=("benign breast lesion", "malignant breast lesion"),
    answer="malignant breast lesion",
    facts={
        "modality": "ultrasound",
        "region": "breast",
        "finding": "lesion",
        "where": "centre of the image",
        "conclusion": "malignant breast lesion",
    },
)


@pytest.fixture(scope="module")
def chat() -> Chat:
    tokenizer = nano.build_tokenizer([question_text(ITEM, m) + target_text(ITEM, m) for m in MODES] * 4)
    return Chat(tokenizer, int(tokenizer.convert_tokens_to_ids("<|image_pad|>")), "test")


def test_golden_row(chat: Chat) -> None:
    """The learnt text is the reply and the end of the turn, nothing of the prompt, and never the word None."""
    target = make_target(chat, nano.GRID, Example(ITEM, "think", np.zeros((112, 112, 3), np.uint8)), answer_weight=12)
    learnt = chat.tokenizer.decode(list(target.reply))
    assert learnt == (
        "<think>This is ultrasound. It shows the breast. Finding: lesion in the centre of the image. "
        "So the answer is malignant breast lesion.</think><answer>B</answer><|im_end|>"
    )
    prompt = chat.tokenizer.decode(list(target.prompt))
    assert prompt.startswith("<|im_start|>user\n<|vision_start|>" + "<|image_pad|>" * 16 + "<|vision_end|>What does")
    assert prompt.endswith("</answer><|im_end|>\n<|im_start|>assistant\n")
    assert "None" not in learnt
    heavy = [i for i, w in enumerate(target.weights) if w == 12]
    assert [chat.tokenizer.decode([target.reply[i]]) for i in heavy] == ["B"]
    assert set(target.weights) == {1.0, 12.0}


@pytest.mark.parametrize("mode", MODES)
def test_labels_cover_the_reply_only(chat: Chat, mode: Mode) -> None:
    image = np.zeros((112, 84, 3), dtype=np.uint8)
    batch = collate(chat, nano.GRID, [Example(ITEM, mode, image)], 12, pad_id=0)
    target = make_target(chat, nano.GRID, Example(ITEM, mode, image), 12)
    labels = batch.labels[0].tolist()
    assert labels[: len(target.prompt)] == [IGNORE] * len(target.prompt)
    assert tuple(labels[len(target.prompt) :]) == target.reply
    assert batch.batch.input_ids[0].tolist() == list(target.prompt + target.reply)
    assert int((batch.batch.input_ids[0] == chat.image_token_id).sum()) == 12


def test_image_path_is_never_shown(chat: Chat) -> None:
    for mode in MODES:
        shown = chat.tokenizer.decode(list(chat.prompt_ids(messages(ITEM, mode), 4)))
        assert "us-1" not in shown
        assert "images/" not in shown


def test_rationale_states_only_facts() -> None:
    assert rationale(ITEM.model_copy(update={"facts": {}})) == "So the answer is malignant breast lesion."


@pytest.mark.parametrize(
    ("reply", "prefix"),
    [
        ("<think>x</think><answer>B</answer>", "<think>x</think><answer>"),
        ("<answer> B", "<answer> "),
        ("no tag", "no tag<answer>"),
        ("<answer>A</answer><answer>B</answer>", "<answer>A</answer><answer>"),
    ],
)
def test_answer_prefix(reply: str, prefix: str) -> None:
    assert answer_prefix(reply) == prefix


def test_loss_equals_plain_cross_entropy() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(3, 7, 5, dtype=torch.float64).float()
    head = nn.Linear(5, 11, bias=False)
    labels = torch.randint(0, 11, (3, 7))
    labels[:, :3] = IGNORE
    labels[1, 5:] = IGNORE
    weights = torch.rand(3, 7) * (labels != IGNORE)
    losses, total = weighted_token_loss(hidden, head, labels, weights)
    logits = head(hidden)[:, :-1]
    nll = nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=IGNORE)
    torch.testing.assert_close(losses, (nll * weights[:, 1:]).sum(-1))
    torch.testing.assert_close(total, weights[:, 1:].sum(-1))


def test_rows_do_not_depend_on_their_batch(chat: Chat, tmp_path: Path) -> None:
    """Permuting the batch permutes the losses: no completion meets another row's image."""
    from medproof.training.sft import TargetLoss

    torch.manual_seed(0)
    net = nano.build_net(nano.build_config(chat.tokenizer), 0)
    module = TargetLoss(net)
    generator = np.random.default_rng(0)
    sizes = [(112, 112), (84, 112), (112, 112), (112, 84)]
    examples = [
        Example(ITEM, MODES[i % 3], generator.integers(0, 256, (*size, 3), dtype=np.uint8))
        for i, size in enumerate(sizes)
    ]
    order = [2, 0, 3, 1]
    with torch.no_grad():
        straight, _ = module(collate(chat, nano.GRID, examples, 12, 0))
        permuted, _ = module(collate(chat, nano.GRID, [examples[i] for i in order], 12, 0))
        swapped, _ = module(collate(chat, nano.GRID, [Example(ITEM, examples[0].mode, examples[2].image)], 12, 0))
    torch.testing.assert_close(permuted, straight[order], rtol=1e-5, atol=1e-4)
    assert abs(float(swapped[0] - straight[0])) > 1e-3
