import io
import math
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from medproof.records import Box, Evidence, Item, Response
from medproof.runs.tables import (
    item_schema,
    items_from_table,
    items_to_bytes,
    response_schema,
    responses_from_table,
    responses_to_bytes,
)

quick = settings(max_examples=50, deadline=None)
texts = st.text(max_size=12)
names = st.text(min_size=1, max_size=12)
numbers = st.floats(allow_nan=False)


def read(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


@st.composite
def items(draw: st.DrawFn) -> Item:
    options = draw(
        st.lists(names.filter(str.strip), min_size=2, max_size=5, unique_by=lambda option: option.casefold().strip())
    )
    corner = st.floats(0, 100, allow_nan=False)
    x, y = draw(corner), draw(corner)
    boxes = draw(st.lists(st.builds(lambda label: Box(label=label, xyxy=(x, y, x + 1, y + 2.5)), texts), max_size=2))
    evidence = st.builds(
        Evidence, boxes=st.just(tuple(boxes)), mask=st.sampled_from([None, "m/1.png"]), mask_classes=st.just({"1": "ä"})
    )
    return Item(
        id=draw(names),
        image="images/ä b.png",
        frame=draw(st.none() | st.integers(0, 10**6)),
        window=draw(st.none() | texts),
        case=draw(names),
        patient=draw(st.none() | texts),
        modality="CT",
        question_type="Disease Diagnosis",
        stage=draw(st.sampled_from([None, "S1", "S4"])),
        question=draw(names),
        options=tuple(options),
        answer=draw(st.sampled_from(options)),
        evidence=draw(st.none() | evidence),
        parents=tuple(draw(st.lists(texts, max_size=3))),
        facts=draw(st.dictionaries(texts, texts, max_size=3)),
        split=draw(st.sampled_from(["train", "test"])),
    )


@st.composite
def responses(draw: st.DrawFn) -> Response:
    return Response(
        key=draw(names),
        item_id=draw(names),
        condition=draw(names),
        mode=draw(st.sampled_from(["direct", "think", "think_after"])),
        text=draw(st.text(max_size=60)),
        prompt_tokens=draw(st.integers(0, 2**40)),
        completion_tokens=draw(st.integers(0, 2**40)),
        truncated=draw(st.booleans()),
        option_logprobs=draw(st.none() | st.lists(numbers, max_size=4).map(tuple)),
        image_sha256="a" * 64,
        info=draw(st.dictionaries(texts, numbers, max_size=4)),
        error=draw(st.none() | texts),
        worker=draw(texts),
        seconds=draw(numbers),
    )


@quick
@given(st.lists(items(), max_size=4))
def test_items_come_back_exactly(rows: list[Item]) -> None:
    data = items_to_bytes(rows)
    assert items_from_table(read(data)) == rows
    assert items_to_bytes(rows) == data


@quick
@given(st.lists(responses(), max_size=4))
def test_responses_come_back_exactly(rows: list[Response]) -> None:
    assert responses_from_table(read(responses_to_bytes(rows))) == rows


def test_no_number_survives(make_response: Callable[..., Response]) -> None:
    row = make_response(1, option_logprobs=(math.nan, -math.inf, -0.0), info={"a": math.nan, "b": math.inf})
    (back,) = responses_from_table(read(responses_to_bytes([row])))
    assert repr(back.option_logprobs) == "(nan, -inf, -0.0)"
    assert repr(back.info) == "{'a': nan, 'b': inf}"


def test_every_field_has_a_column() -> None:
    """A field added to a record may not be dropped on the way to disk, nor silently stored as text."""
    assert item_schema().names == list(Item.model_fields)
    assert response_schema().names == list(Response.model_fields)
    stored_as_text = {
        name
        for record, schema in ((Item, item_schema()), (Response, response_schema()))
        for name in schema.names
        if pa.types.is_string(schema.field(name).type) and "str" not in str(record.model_fields[name].annotation)
    }
    assert stored_as_text == {"question_type", "stage", "evidence", "split", "license_class", "mode"}


def test_missing_columns_take_defaults_and_unknown_ones_are_passed_over(make_response: Callable[..., Response]) -> None:
    row = make_response(1, worker="me", info={"eps": 4.0})
    table = read(responses_to_bytes([row])).drop_columns(["worker", "info", "option_logprobs"])
    table = table.append_column("later", pa.array(["x"]))
    assert responses_from_table(table) == [make_response(1)]
