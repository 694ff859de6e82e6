"""Run directories: what was asked, what was answered, on disk so that no crash loses more than the batch in flight.

    run.json            what the run is: model, data, mode, seed, hashes, versions (`runs.meta`)
    items.parquet       the questions (`runs.tables`)
    responses/*.parquet append-only shards of responses (`runs.shards`)
    images/*.png        the pixels the model saw, by SHA-256 (`runs.images`)
    claims.log          who is working on what (`runs.claims`), with workers/*.lock
    store.lock          the lock of all short critical sections (`runs.locks`)

Nothing here imports torch. pyarrow and duckdb are imported when first used.
"""
