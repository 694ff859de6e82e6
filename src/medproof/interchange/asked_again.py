"""The conversations of a run, made again: a run stores the hash of what was asked, not the words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from medproof.conditions import Context, prepare, resolve
from medproof.conditions.context import Pixels
from medproof.datasets import Dataset
from medproof.errors import UserError
from medproof.evaluation.chained import Chained
from medproof.interchange.source import NO_IMAGE
from medproof.models.prompts import messages
from medproof.models.protocol import Model
from medproof.records import Condition, Decoding, Item, Message, Response, View
from medproof.runs.images import Images
from medproof.runs.keys import response_key
from medproof.runs.store import RunData
from medproof.scoring.scored import CLEAN


class Asked:
    """Conversations by condition and item. Where a response's key does not follow, they are not given."""

    def __init__(self, run: RunData) -> None:
        self._run, self._images = run, Images(run.path)
        self._by_condition: dict[str, dict[str, Response]] = {}
        for response in run.responses:
            self._by_condition.setdefault(response.condition, {})[response.item_id] = response
        self._context = Context(
            dataset=Dataset(str(run.meta.get("dataset")), run.path, run.items),
            seed=int(run.meta["seed"]),
            mode=run.meta["mode"],
            model=cast(Model, None),  # only `perturb` asks the model
            load=self._load,
            replies=self._by_condition,
        )

    def under(self, condition: str) -> dict[str, tuple[Message, ...]]:
        """Messages by item id: those whose hash is in the response's key, so that they are what was asked."""
        resolved = resolve(condition)
        decoding = Decoding.model_validate(self._run.meta["decoding"])
        decoding = Chained(self._context).decoding(resolved, decoding)
        found = {}
        for item in self._run.items:
            response = self._by_condition.get(condition, {}).get(item.id)
            if response is None:
                continue
            for view, sha in self._guesses(item, resolved, response):
                if self._key(item, view, sha, decoding) == response.key:
                    found[item.id] = view.messages
                    break
        return found

    def _guesses(self, item: Item, condition: Condition, response: Response) -> Iterator[tuple[View, str]]:
        """What may have been asked, with the hash of the picture: the plain question, then as the condition has it."""
        image = response.image_sha256 != NO_IMAGE
        plain = messages(item, response.mode, image=image)
        yield View(item, condition.key, response.mode, plain, None), response.image_sha256
        try:
            (view,) = prepare(condition, [item], self._context)
        except (UserError, KeyError):  # a mask, a picture or a reply that the condition builds on is not in the run
            return
        if view is not None:
            yield view, view.pixels_sha256

    def _key(self, item: Item, view: View, sha: str, decoding: Decoding) -> str:
        meta = self._run.meta
        return response_key(
            item,
            sha,
            view.messages_json,
            view.condition,
            int(meta["seed"]),
            decoding,
            str(meta["weights_hash"]),
            str(meta["processor_hash"]),
        )

    def _load(self, item: Item) -> Pixels:
        clean = self._by_condition.get(CLEAN, {}).get(item.id)
        pixels = None if clean is None else self._images.read(clean.image_sha256)
        if pixels is None:
            raise UserError(f"the run holds no clean picture of item {item.id!r}")
        return pixels
