"""Items and Responses as Parquet tables, exact both ways.

items.parquet: the fields of `records.Item`, one column each: text columns; `frame`, `width`, `height` int64; `options`
and `parents` list<text>; `facts` map<text, text>; `evidence` as JSON text (null where there is none).

responses/*.parquet: the fields of `records.Response`, one column each: `key`, `item_id`, `condition`, `mode`, `text`,
`image_sha256`, `error`, `worker` text; `prompt_tokens`, `completion_tokens` int64; `truncated` bool; `seconds` float64;
`option_logprobs` list<float64>; `info` map<text, float64>. Floats are stored as floats, so infinities survive.

A column that is absent takes the record's default, so that older runs stay readable; unknown columns are passed over.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from medproof.records import Evidence, Item, Record, Response

if TYPE_CHECKING:
    import pyarrow as pa


@cache
def item_schema() -> "pa.Schema":
    import pyarrow as pa

    text = pa.string()
    special = {
        "frame": pa.int64(),
        "width": pa.int64(),
        "height": pa.int64(),
        "options": pa.list_(text),
        "parents": pa.list_(text),
        "facts": pa.map_(text, text),
    }
    return pa.schema([pa.field(name, special.get(name, text)) for name in Item.model_fields])


@cache
def response_schema() -> "pa.Schema":
    import pyarrow as pa

    text = pa.string()
    special = {
        "prompt_tokens": pa.int64(),
        "completion_tokens": pa.int64(),
        "truncated": pa.bool_(),
        "option_logprobs": pa.list_(pa.float64()),
        "info": pa.map_(text, pa.float64()),
        "seconds": pa.float64(),
    }
    return pa.schema([pa.field(name, special.get(name, text)) for name in Response.model_fields])


@cache
def _response_list() -> TypeAdapter[list[Response]]:
    return TypeAdapter(list[Response])  # one call for all rows is a third faster than one per row


def items_to_bytes(items: Sequence[Item]) -> bytes:
    """A Parquet file of `items`; the same items give the same bytes."""
    return table_to_bytes(_table(items, item_schema(), {"evidence": _evidence_text, "facts": _pairs}))


def responses_to_bytes(responses: Sequence[Response]) -> bytes:
    """A Parquet file of `responses`."""
    return table_to_bytes(_table(responses, response_schema(), {"info": _pairs}))


def items_from_table(table: "pa.Table") -> list[Item]:
    """Raises pydantic.ValidationError where a row is no Item."""
    rows = _rows(table, item_schema())
    return [Item.model_validate({**row, **_item_values(row)}) for row in rows]


def responses_from_table(table: "pa.Table") -> list[Response]:
    """Raises pydantic.ValidationError where a row is no Response."""
    rows = _rows(table, response_schema())
    for row in rows:
        row["info"] = dict(row.get("info") or ())
    return _response_list().validate_python(rows)


def table_to_bytes(table: "pa.Table") -> bytes:
    """A zstd-compressed Parquet file in memory; disk errors then come from one place, `runs.atomic`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _table(records: Sequence[Record], schema: "pa.Schema", convert: dict[str, Any]) -> "pa.Table":
    import pyarrow as pa

    columns = []
    for field in schema:
        values: Iterable[Any] = (getattr(record, field.name) for record in records)
        if field.name in convert:
            values = map(convert[field.name], values)
        columns.append(pa.array(list(values), type=field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _rows(table: "pa.Table", schema: "pa.Schema") -> list[dict[str, Any]]:
    names = [name for name in schema.names if name in table.column_names]
    columns = [table.column(name).to_pylist() for name in names]
    # A null is left to the record's default: every field that may be None has None as its default.
    return [
        {name: value for name, value in zip(names, values) if value is not None}
        for values in zip(*columns, strict=True)
    ]


def _item_values(row: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"facts": dict(row.get("facts") or ())}
    if row.get("evidence") is not None:
        values["evidence"] = Evidence.from_json(row["evidence"])
    return values


def _evidence_text(evidence: Evidence | None) -> str | None:
    return None if evidence is None else evidence.to_json()


def _pairs(mapping: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(mapping.items())
