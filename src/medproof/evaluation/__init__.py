"""The loop Item -> View -> Response: prepare, claim, batch, answer, store. Start at `evaluation.loop.evaluate`."""
