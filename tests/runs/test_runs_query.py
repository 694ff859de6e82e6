from collections.abc import Callable
from pathlib import Path

import pytest

from medproof.errors import UserError
from medproof.records import Response
from medproof.runs.query import connect
from medproof.runs.store import RunStore


def test_tables_hold_what_counts(store: RunStore, make_response: Callable[..., Response]) -> None:
    store.append([make_response(1, error="failed"), make_response(2, option_logprobs=(-0.5, -1.0), info={"eps": 4.0})])
    store.append([make_response(1, text="good"), make_response(3, error="failed")])
    with connect(store.path) as database:
        rows = database.sql("select item_id, text, error from responses order by item_id").fetchall()
        assert rows == [
            ("item1", "good", None),
            ("item2", "<answer>A</answer>", None),
            ("item3", "<answer>A</answer>", "failed"),
        ]
        assert database.sql(
            "select option_logprobs[2], info['eps'] from responses where item_id='item2'"
        ).fetchall() == [(-1.0, 4.0)]
        joined = "select count(*) from responses join items on item_id = id where 'MRI' in options"
        assert database.sql(joined).fetchall() == [(3,)]


def test_an_empty_run_has_empty_tables(store: RunStore) -> None:
    with connect(store.path) as database:
        assert database.sql("select count(*) from responses").fetchall() == [(0,)]
        assert database.sql("select count(*) from items").fetchall() == [(6,)]


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        connect(tmp_path)
