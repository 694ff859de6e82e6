"""SQL over a run with DuckDB: the tables `items` and `responses`, with the columns of `runs.tables`."""

from pathlib import Path
from typing import TYPE_CHECKING

from medproof.runs.meta import read_meta
from medproof.runs.shards import Shards

if TYPE_CHECKING:
    import duckdb


def connect(path: Path | str) -> "duckdb.DuckDBPyConnection":
    """An in-memory database holding the run as it is now; close it when done. Writes nothing to the run.

    `responses` has one row per item and condition, as `RunStore.responses` gives them. Raises UserError on a folder
    that is no run. Example: `connect(run).sql("select condition, count(*) from responses group by condition")`.
    """
    import duckdb

    path = Path(path)
    read_meta(path)
    connection = duckdb.connect()
    connection.execute("create table items as select * from read_parquet(?)", [str(path / "items.parquet")])
    connection.register("rows_that_count", Shards(path).read())
    connection.execute("create table responses as select * from rows_that_count")
    connection.unregister("rows_that_count")
    return connection
