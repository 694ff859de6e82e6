"""What stands where in a row, who sees whom, and which positions they have."""

from dataclasses import replace

import pytest
import torch
from grpo_groups import collate, random_groups
from hypothesis import given, settings
from hypothesis import strategies as st

from medproof import models
from medproof.models.batch import Batch, positions
from medproof.models.qwen_vl import QwenVL
from medproof.training.groups import Completion, Images
from medproof.training.prefix_rows import PADDING, PROMPT, block_mask, row_positions

SIZES = [(112, 112), (84, 112), (112, 112)]
LENGTHS = [[3, 1, 5], [2, 2, 4], [1, 1, 1]]


@pytest.fixture(scope="module")
def model() -> QwenVL:
    return models.load("nano", device="cpu")


def test_a_shared_row_holds_prompt_and_completions_without_their_last_tokens(model: QwenVL) -> None:
    groups = random_groups(model, SIZES, LENGTHS)
    batch = collate(model, groups)
    for group, ids, segments, seen in zip(groups, batch.rows.input_ids, batch.segments, batch.rows.attention_mask):
        replies = [c.ids[:-1] for c in group.completions]
        row = list(group.prompt.ids) + [i for reply in replies for i in reply]
        assert ids[seen.bool()].tolist() == row
        assert segments[seen == 0].eq(PADDING).all()
        assert segments[: len(group.prompt.ids)].eq(PROMPT).all()
        assert [ids[segments == g + 1].tolist() for g in range(3)] == [list(reply) for reply in replies]


@pytest.mark.parametrize("layout", ["shared", "repeated"])
def test_every_token_is_predicted_by_the_one_before_it(model: QwenVL, layout: str) -> None:
    groups = random_groups(model, SIZES, LENGTHS)
    batch = collate(model, groups, layout=layout)
    before = batch.rows.input_ids.flatten()[batch.sources].tolist()
    wanted = [[g.prompt.ids[-1], *c.ids[:-1]] for g in groups for c in g.completions]
    assert before == [i for ids in wanted for i in ids]
    assert batch.targets.tolist() == [i for g in groups for c in g.completions for i in c.ids]
    assert batch.mask.sum(-1).tolist() == LENGTHS
    rows = len(groups) if layout == "shared" else sum(map(len, LENGTHS))
    assert batch.rows.input_ids.shape[0] == rows


@pytest.mark.parametrize("layout", ["shared", "repeated"])
def test_positions_are_those_of_each_sequence_alone(model: QwenVL, layout: str) -> None:
    """The model's own rule over `[prompt | completion]`, for every completion."""
    groups = random_groups(model, SIZES, LENGTHS)
    batch = collate(model, groups, layout=layout)
    place = row_positions(model.net, batch)
    for i, group in enumerate(groups):
        for g, completion in enumerate(group.completions):
            row, number = (i, g + 1) if layout == "shared" else (3 * i + g, 1)
            ids = torch.tensor([group.prompt.ids + completion.ids[:-1]])
            types = (ids == model.chat.image_token_id).long()
            alone = Batch(ids, torch.ones_like(ids), types, (batch.rows.image_rows[row],))
            wanted = positions(model.net, alone, batch.grid_thw)[:, 0]
            mine = (batch.segments[row] == PROMPT) | (batch.segments[row] == number)
            assert torch.equal(place[:, row, mine], wanted)


@settings(max_examples=30, deadline=None)
@given(prompt=st.integers(1, 4), replies=st.lists(st.integers(0, 3), min_size=1, max_size=4), padding=st.integers(0, 3))
def test_a_token_sees_the_prompt_and_its_own_completion_up_to_itself(
    prompt: int, replies: list[int], padding: int
) -> None:
    segments = [PROMPT] * prompt + [g for g, n in enumerate(replies, 1) for _ in range(n)] + [PADDING] * padding
    seen = block_mask(torch.tensor([segments]))[0, 0]
    for q, mine in enumerate(segments):
        for k, theirs in enumerate(segments):
            if mine != PADDING:
                assert bool(seen[q, k]) == (k <= q and theirs in (PROMPT, mine))
    assert bool(seen.any(-1).all())


def test_a_batch_refuses_what_would_go_wrong_silently(model: QwenVL) -> None:
    groups = random_groups(model, SIZES[:2], LENGTHS[:2])
    images = Images.of_prompts([g.prompt for g in groups])
    fewer = replace(groups[0], completions=groups[0].completions[:2])
    with pytest.raises(ValueError, match="same number of completions"):
        collate(model, [fewer, groups[1]], images)
    with pytest.raises(ValueError, match=r"case-0/modality was made for another image size than 112x84"):
        collate(model, groups, Images(images.pixels, (1, 1)))
    pixel = Completion((9, model.chat.image_token_id), "", truncated=True)
    drawn = replace(groups[0], completions=(pixel, *groups[0].completions[1:]))
    with pytest.raises(ValueError, match="case-0/modality holds an image token"):
        collate(model, [drawn, groups[1]], images)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        collate(model, groups, Images(images.pixels, (0,)))


def test_an_empty_completion_has_no_tokens(model: QwenVL) -> None:
    groups = random_groups(model, SIZES[:1], [[0, 2, 0]])
    batch = collate(model, groups)
    assert batch.mask.tolist() == [[[False, False], [True, True], [False, False]]]
    assert len(batch.sources) == len(batch.targets) == 2
