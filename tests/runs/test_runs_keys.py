from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medproof.records import Decoding, Item
from medproof.runs.keys import response_key

TEXT_PARTS = ("pixels_sha256", "messages_json", "condition_key", "weights_hash", "processor_hash")
hypothesis_settings = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def parts(make_item: Callable[..., Item]) -> dict[str, Any]:
    return {
        "item": make_item(1),
        "pixels_sha256": "ab" * 32,
        "messages_json": '[{"role":"user"}]',
        "condition_key": "pgd(linf,8/255,20)",
        "seed": 7,
        "decoding": Decoding(),
        "weights_hash": "cd" * 32,
        "processor_hash": "ef" * 32,
    }


def test_is_stable_hex(parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed value: a change of the recipe would orphan every stored response."""
    monkeypatch.setattr(Item, "fingerprint", lambda self: "12" * 32)
    monkeypatch.setattr(Decoding, "to_json", lambda self: "{}")
    assert response_key(**parts) == "54ead5c2fa3bff823af9f21023f9b2788d8399fe9e969e18b57efcf99197f40e"


@hypothesis_settings
@given(data=st.data())
def test_a_changed_byte_in_any_text_changes_the_key(parts: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(TEXT_PARTS))
    raw = bytearray(parts[name].encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 127).filter(lambda value: value != raw[place]))
    assert response_key(**{**parts, name: raw.decode()}) != response_key(**parts)


@hypothesis_settings
@given(seed=st.integers(), tokens=st.integers(1, 9999), temperature=st.floats(0, 2), top_p=st.floats(0.01, 1))
def test_seed_and_decoding_change_the_key(
    parts: dict[str, Any], seed: int, tokens: int, temperature: float, top_p: float
) -> None:
    decoding = Decoding(max_new_tokens=tokens, temperature=temperature, top_p=top_p)
    same = seed == parts["seed"] and decoding == parts["decoding"]
    assert (response_key(**{**parts, "seed": seed, "decoding": decoding}) == response_key(**parts)) == same


@pytest.mark.parametrize(
    "change",
    [
        {"id": "item2"},
        {"image": "images/2.png"},
        {"frame": 0},
        {"window": "lung"},
        {"question": "Which modality is this"},
        {"options": ("MRI", "CT")},
        {"answer": "MRI"},
        {"facts": {"region": "chest"}},
    ],
)
def test_a_changed_item_changes_the_key(
    parts: dict[str, Any], make_item: Callable[..., Item], change: dict[str, Any]
) -> None:
    assert response_key(**{**parts, "item": make_item(1, **change)}) != response_key(**parts)


@hypothesis_settings
@given(data=st.data())
def test_moving_a_byte_to_the_next_part_changes_the_key(parts: dict[str, Any], data: st.DataObject) -> None:
    first, second = data.draw(st.sampled_from([("pixels_sha256", "messages_json"), ("weights_hash", "processor_hash")]))
    cut = data.draw(st.integers(1, len(parts[first]) - 1))
    moved = {first: parts[first][:cut], second: parts[first][cut:] + parts[second]}
    assert response_key(**{**parts, **moved}) != response_key(**parts)
