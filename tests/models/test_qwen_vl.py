"""The white-box adapter on a random nano: batching, encode counts, padding, decoding, gradients."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from medproof import models
from medproof.errors import UserError
from medproof.images.preprocess import to_float
from medproof.models.batch import Row, pad_rows, positions
from medproof.models.encode_once import encode_once
from medproof.models.qwen_vl import QwenVL, weights_hash
from medproof.records import Decoding, View

MakeView = Callable[..., View]


@pytest.fixture(scope="module")
def model(random_nano: Path) -> QwenVL:
    return models.load(str(random_nano), device="cpu")


@pytest.fixture
def mixed(make_view: MakeView) -> list[View]:
    """Three sizes, one view without an image, one image shown twice."""
    sizes = [(112, 112), (84, 112), None, (112, 84), (112, 112)]
    views = [make_view(size, seed) for seed, size in enumerate(sizes)]
    return [*views, views[0]]


def encoded_images(model: QwenVL, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many images each call of the vision tower gets."""
    counts: list[int] = []
    tower = model.net.model.visual
    original = tower.forward

    def spy(pixels: torch.Tensor, grid_thw: torch.Tensor, **kwargs: object) -> object:
        counts.append(len(grid_thw))
        return original(pixels, grid_thw=grid_thw, **kwargs)

    monkeypatch.setattr(tower, "forward", spy)
    return counts


def test_option_logprobs_do_not_depend_on_the_batch(model: QwenVL, mixed: list[View]) -> None:
    together = model.option_logprobs(mixed)
    alone = [model.option_logprobs([view])[0] for view in mixed]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
        assert np.exp(a).sum() == pytest.approx(1)
    assert np.abs(together[0] - together[1]).max() > 1e-4, "different images must give different scores"


def test_permuting_the_batch_permutes_the_scores(model: QwenVL, mixed: list[View]) -> None:
    order = [3, 0, 5, 2, 4, 1]
    straight = model.option_logprobs(mixed)
    permuted = model.option_logprobs([mixed[i] for i in order])
    for place, i in enumerate(order):
        np.testing.assert_allclose(permuted[place], straight[i], atol=2e-6)


def test_distinct_images_are_encoded_once(model: QwenVL, make_view: MakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = encoded_images(model, monkeypatch)
    one = make_view((112, 112), 1)
    views = [one, make_view((84, 112), 2), one, one, make_view(None, 3)]
    model.option_logprobs(views)
    model.generate(views, Decoding(max_new_tokens=3))
    assert counts == [2, 2]


def test_encoding_once_equals_encoding_every_copy(model: QwenVL, make_view: MakeView) -> None:
    view = make_view((112, 84), 4)
    shared = model.option_logprobs([view] * 5)
    np.testing.assert_allclose(np.stack(shared), np.stack([model.option_logprobs([view])[0]] * 5), atol=2e-6)


def test_greedy_text_does_not_depend_on_batch_or_padding_side(model: QwenVL, mixed: list[View]) -> None:
    decoding = Decoding(max_new_tokens=6)
    together = model.generate(mixed, decoding)
    assert together == [model.generate([view], decoding)[0] for view in mixed]


def test_left_padded_decoding_agrees_with_right_padded_scores(model: QwenVL, mixed: list[View]) -> None:
    """The first token decoded (left padding) is the argmax of the logits a right-padded pass gives there."""
    replies = model.generate(mixed, Decoding(max_new_tokens=1))
    pixels, grid, image_of = model._stock_pixels(mixed)
    rows = [Row(model._prompt(v), image_of[i]) for i, v in enumerate(mixed)]
    batch = pad_rows(rows, model.chat.image_token_id, model._pad_id, left=False)
    assert pixels is not None
    assert grid is not None
    with torch.inference_mode(), encode_once(model.net, grid, batch.image_rows):
        logits = model.net(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=positions(model.net, batch, grid),
            mm_token_type_ids=batch.token_types,
            pixel_values=pixels,
            image_grid_thw=grid[list(batch.image_rows)],
        ).logits
    last = batch.attention_mask.sum(-1) - 1
    scores = logits[torch.arange(len(mixed)), last]
    scores[:, model._vision_ids()] = -torch.inf
    expected = [model.chat.decode([i]) if i not in model._eos_ids() else "" for i in scores.argmax(-1).tolist()]
    assert [reply.text for reply in replies] == expected


def test_vision_tokens_are_never_written(model: QwenVL, make_view: MakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when the head wants nothing else."""
    image_token = model.chat.image_token_id
    original = model.net.lm_head.forward

    def eager(hidden: torch.Tensor) -> torch.Tensor:
        logits = original(hidden).clone()
        logits[..., model._vision_ids()] = 1e4
        return logits

    monkeypatch.setattr(model.net.lm_head, "forward", eager)
    seen: list[int] = []
    decode = model.chat.decode
    monkeypatch.setattr(model.chat, "decode", lambda ids: seen.extend(ids) or decode(ids))
    model.generate([make_view((112, 112), 5)], Decoding(max_new_tokens=8))
    assert seen
    assert not set(seen) & set(model._vision_ids())
    assert image_token in model._vision_ids()


def test_sampling_is_seeded_per_item_and_batch_free(model: QwenVL, mixed: list[View]) -> None:
    decoding = Decoding(max_new_tokens=6, temperature=1.0, top_p=0.9)
    together = model.generate(mixed, decoding, seed=3)
    assert together == [model.generate([view], decoding, seed=3)[0] for view in mixed]
    assert together != model.generate(mixed, decoding, seed=4)


def test_margin_loss_is_the_margin_of_the_scores(model: QwenVL, mixed: list[View]) -> None:
    views = [v for v in mixed if v.image is not None]
    pixels = [to_float(v.image) for v in views if v.image is not None]
    losses = model.loss(pixels, views, "margin")
    letters = model.letter_logprobs(pixels, views)
    for loss, logp, row in zip(losses.tolist(), model.option_logprobs(views), letters, strict=True):
        assert loss == pytest.approx(max(logp[1:]) - logp[0], abs=1e-5)
        np.testing.assert_allclose(row.log_softmax(-1).tolist(), logp, atol=1e-5)


def test_answer_loss_is_that_of_the_whole_text(model: QwenVL, make_view: MakeView) -> None:
    views = [make_view((112, 112), 8), make_view((84, 112), 9)]
    pixels = floats(views)
    whole = model.continuation_logprobs(pixels, views, ["<answer>A</answer>"] * 2)
    torch.testing.assert_close(model.loss(pixels, views, "answer"), -whole)
    prefixes = ["<think>It is CT.</think><answer>", "<answer>"]
    rest = model.continuation_logprobs(pixels, views, ["A</answer>"] * 2, prefixes)
    torch.testing.assert_close(model.loss(pixels, views, "answer", prefixes), -rest)


def test_log_probabilities_of_a_text_add_up_over_its_parts(model: QwenVL, make_view: MakeView) -> None:
    """Whatever else is in the batch, and however long: p(ab | c) = p(a | c) p(b | ca)."""
    views = [make_view((112, 112), 1), make_view((84, 112), 2), make_view((112, 112), 1)]
    pixels = floats(views)
    before = ["", "<think>It is CT.</think>", "<think>"]
    first, second = ["<think>", "<answer>", "The image</think>"], ["It is CT.</think>", "A</answer>", "<answer>B"]
    whole = model.continuation_logprobs(pixels, views, [a + b for a, b in zip(first, second)], before)
    head = model.continuation_logprobs(pixels, views, first, before)
    tail = model.continuation_logprobs(pixels, views, second, [a + b for a, b in zip(before, first)])
    torch.testing.assert_close(whole, head + tail, atol=2e-5, rtol=0)
    for i in range(3):
        alone = model.continuation_logprobs([pixels[i]], [views[i]], [first[i]], [before[i]])
        torch.testing.assert_close(alone[0], head[i], atol=2e-5, rtol=0)


def test_one_token_of_a_text_is_the_letter_at_the_slot(model: QwenVL, make_view: MakeView) -> None:
    view = make_view((112, 112), 3)
    (row,) = model.letter_logprobs(floats([view]), [view])
    texts = model.continuation_logprobs(floats([view]) * 4, [view] * 4, list("ABCD"), ["<answer>"] * 4)
    torch.testing.assert_close(texts, row, atol=1e-5, rtol=0)


def test_an_empty_text_is_refused(model: QwenVL, make_view: MakeView) -> None:
    view = make_view((112, 112), 3)
    with pytest.raises(ValueError, match="empty text"):
        model.continuation_logprobs(floats([view]), [view], [""])


def test_views_that_share_a_tensor_share_its_encoding(
    model: QwenVL, make_view: MakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = encoded_images(model, monkeypatch)
    views = [make_view((112, 112), 1), make_view((84, 112), 2)]
    one, two = (image.requires_grad_() for image in floats(views))
    prefixes = ["<answer>", "<think>It is CT.</think><answer>", "<answer>"]
    together = model.loss([one, one, two], [views[0], views[0], views[1]], "margin", prefixes)
    (gradient,) = torch.autograd.grad(together[:2].sum(), one)
    assert counts == [2]
    apart = [model.loss([one], [views[0]], "margin", [prefix])[0] for prefix in prefixes[:2]]
    torch.testing.assert_close(together[:2], torch.stack(apart), atol=1e-5, rtol=0)
    (expected,) = torch.autograd.grad(sum(apart), one)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-3)


def test_hidden_state_at_the_slot_gives_the_letters(model: QwenVL, make_view: MakeView) -> None:
    views = [make_view((112, 112), 1), make_view((84, 112), 2)]
    hidden = model.slot_features(floats(views), views)
    assert hidden.shape == (2, 192)
    slots = model._slots(views, None)
    logps = model.net.lm_head(hidden).log_softmax(-1)
    for i, row in enumerate(model.letter_logprobs(floats(views), views)):
        torch.testing.assert_close(logps[i, list(slots[i].letters)], row)


def test_visual_tokens_come_from_the_encoder_alone(
    model: QwenVL, make_view: MakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = [make_view((112, 112), 1), make_view((84, 112), 2)]
    pixels = floats(views)
    monkeypatch.setattr(model.net.model.language_model, "forward", lambda **_: pytest.fail("the text model was run"))
    tokens = model.features([*pixels, pixels[0]])
    assert [tuple(t.shape) for t in tokens] == [(16, 192), (12, 192), (16, 192)]
    assert tokens[0] is tokens[2]
    torch.testing.assert_close(model.features(pixels[1:])[0], tokens[1], atol=1e-5, rtol=1e-4)


def floats(views: list[View]) -> list[torch.Tensor]:
    return [to_float(view.image) for view in views if view.image is not None]


def test_answer_loss_grows_when_the_answer_loses(model: QwenVL, make_view: MakeView) -> None:
    view = make_view((112, 112), 8)
    assert view.image is not None
    pixels = to_float(view.image).requires_grad_()
    loss = model.loss([pixels], [view], "answer")
    (gradient,) = torch.autograd.grad(loss.sum(), pixels)
    stepped = (pixels + 0.05 * gradient.sign()).detach().clamp(0, 1)
    assert float(model.loss([stepped], [view], "answer")) > float(loss.detach())


def test_loss_leaves_no_gradient_on_the_weights(model: QwenVL, make_view: MakeView) -> None:
    view = make_view((112, 112), 9)
    assert view.image is not None
    pixels = to_float(view.image).requires_grad_()
    model.loss([pixels], [view]).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in model.net.parameters())


def keep_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers casts to float32 inside norms and rotary embeddings; here those casts go to float64."""
    original = torch.Tensor.to

    def to(tensor: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        args = tuple(torch.float64 if a is torch.float32 else a for a in args)
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in kwargs.items()}
        return original(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def test_gradient_equals_finite_differences_in_float64(
    random_nano: Path, make_view: MakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Central differences through patchify and the whole net, along the gradient and along random directions."""
    keep_float64(monkeypatch)
    model = models.load(str(random_nano), device="cpu")
    model.net.double()
    view = make_view((84, 112), 10)
    assert view.image is not None
    pixels = to_float(view.image).double().requires_grad_()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return _margin64(model, x, view)

    (gradient,) = torch.autograd.grad(loss(pixels), pixels)
    generator = torch.Generator().manual_seed(0)
    random = [torch.randn(pixels.shape, generator=generator, dtype=torch.float64) for _ in range(4)]
    for direction in [gradient, *random]:
        unit = direction / direction.norm()
        step = 1e-5
        with torch.no_grad():
            numeric = float(loss(pixels + step * unit) - loss(pixels - step * unit)) / (2 * step)
        exact = float((gradient * unit).sum())
        assert numeric == pytest.approx(exact, rel=1e-6, abs=1e-9)


def test_gradients_of_texts_and_visual_tokens_equal_finite_differences(
    random_nano: Path, make_view: MakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_float64(monkeypatch)
    model = models.load(str(random_nano), device="cpu")
    model.net.double()
    view = make_view((84, 112), 10)
    pixels = floats([view])[0].double().requires_grad_()
    weights = torch.randn(12, 192, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def text(x: torch.Tensor) -> torch.Tensor:
        return model.continuation_logprobs([x], [view], ["<think>It is CT.</think>"], ["<answer>"]).sum()

    def tokens(x: torch.Tensor) -> torch.Tensor:
        return (model.features([x])[0] * weights).sum()

    for function in (text, tokens):
        (gradient,) = torch.autograd.grad(function(pixels), pixels)
        unit = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        with torch.no_grad():
            numeric = float(function(pixels + 1e-5 * unit) - function(pixels - 1e-5 * unit)) / 2e-5
        assert numeric == pytest.approx(float((gradient * unit).sum()), rel=1e-6)


def _margin64(model: QwenVL, pixels: torch.Tensor, view: View) -> torch.Tensor:
    """The margin without the cast to float32 that `loss` makes."""
    slots = model._slots([view], None)
    logits = model._slot_logits([view], slots, model._patches([pixels]))[0]
    letters = logits[list(slots[0].letters)]
    return letters[1:].max() - letters[0]


def test_a_truncated_reply_says_so(model: QwenVL, make_view: MakeView) -> None:
    reply = model.generate([make_view((112, 112), 11)], Decoding(max_new_tokens=2))[0]
    assert reply.truncated == (reply.completion_tokens == 2)
    assert reply.prompt_tokens == len(model._prompt(make_view((112, 112), 11)))


def test_image_marker_in_the_data_is_refused(model: QwenVL, make_view: MakeView) -> None:
    item = make_view((112, 112), 12).item.model_copy(update={"question": "What is <|image_pad|> here?"})
    view = make_view((112, 112), 12, item=item)
    with pytest.raises(UserError, match="image marker"):
        model.option_logprobs([view])


def test_an_image_off_the_grid_is_refused(model: QwenVL, make_view: MakeView) -> None:
    with pytest.raises(ValueError, match="not on the grid"):
        model.option_logprobs([make_view((100, 112), 13)])


def test_one_changed_weight_changes_the_hash(random_nano: Path) -> None:
    model = models.load(str(random_nano), device="cpu")
    before = weights_hash(model.net)
    assert before == model.weights_hash == weights_hash(models.load(str(random_nano), device="cpu").net)
    with torch.no_grad():
        model.net.lm_head.weight[0, 0] += 1e-3
    assert weights_hash(model.net) != before


@pytest.mark.parametrize(
    ("spec", "message"),
    [("./nowhere", "not found"), ("nanoo", "not found"), ("/no/such/folder", "not found")],
)
def test_unknown_model_is_one_clear_line(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        models.load(spec)
    assert "\n" not in str(caught.value)


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        models.load(str(tmp_path))


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="bert"):
        models.load(str(tmp_path))


def test_a_gpu_that_is_not_there_is_refused(random_nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--device cpu"):
        models.load(str(random_nano), device="cuda")
