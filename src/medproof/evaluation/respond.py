"""A batch of prepared views to responses: perturb where the condition attacks, generate, read the options."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medproof.evaluation.batches import Task
from medproof.evaluation.images import Pixels
from medproof.evaluation.prepare import Conditioner
from medproof.models.prompts import answer_prefix
from medproof.models.protocol import Model, Reply, Scorer
from medproof.records import Condition, Decoding, Mode, Response, View, pixels_sha256


@dataclass
class Responder:
    """Answers batches of one condition. `images` collects what the model saw until `take_images`."""

    model: Model
    condition: Condition
    how: Conditioner
    mode: Mode
    decoding: Decoding
    seed: int
    forced_choice: bool
    worker: str
    images: dict[str, Pixels] = field(default_factory=dict)

    def answer(self, tasks: Sequence[Task]) -> list[Response]:
        """One response per task, in order. Raises whatever model and attack raise."""
        start = time.perf_counter()
        views, shas = self._views(tasks)
        replies = self.model.generate(views, self.decoding, self.seed)
        if len(replies) != len(views):
            raise RuntimeError(f"the model gave {len(replies)} replies to {len(views)} views")
        options = self._options(views, replies)
        seconds = (time.perf_counter() - start) / len(tasks)
        self.images.update((sha, view.image) for sha, view in zip(shas, views, strict=True) if view.image is not None)
        return [
            Response(
                key=task.key,
                item_id=task.item.id,
                condition=self.condition.key,
                mode=self.mode,
                text=reply.text,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                truncated=reply.truncated,
                option_logprobs=logprobs,
                image_sha256=sha,
                info={**view.info, **reply.info},
                worker=self.worker,
                seconds=seconds,
            )
            for task, view, sha, reply, logprobs in zip(tasks, views, shas, replies, options, strict=True)
        ]

    def fail(self, task: Task, reason: str) -> Response:
        """An `error` response; tried again when the run is resumed."""
        return failed(task.key, task.item.id, self.condition, self.mode, reason, self.worker, task.sha)

    def take_images(self) -> Mapping[str, Pixels]:
        """The images since the last call, by SHA-256. Safe beside threads that answer: one image is taken at a time."""
        taken: dict[str, Pixels] = {}
        while self.images:
            sha, image = self.images.popitem()
            taken[sha] = image
        return taken

    def _views(self, tasks: Sequence[Task]) -> tuple[list[View], list[str]]:
        """What the model is shown, and its hashes."""
        clean = [task.view for task in tasks]
        if not self.how.needs_attack(self.condition):
            return clean, [task.sha for task in tasks]
        views = list(self.how.perturb(self.condition, clean, self.how.context))
        if [view.item.id for view in views] != [task.item.id for task in tasks]:
            raise RuntimeError(f"condition {self.condition.key} did not return the views it was given, in order")
        return views, [pixels_sha256(view.image) for view in views]

    def _options(self, views: Sequence[View], replies: Sequence[Reply]) -> list[tuple[float, ...] | None]:
        """The forced-choice reading: at the opening of a direct reply, at the model's own answer slot otherwise."""
        if not self.forced_choice or not isinstance(self.model, Scorer):
            return [None] * len(views)
        prefixes = None if self.mode == "direct" else [answer_prefix(reply.text) for reply in replies]
        return [tuple(float(value) for value in row) for row in self.model.option_logprobs(views, prefixes)]


def failed(key: str, item_id: str, condition: Condition, mode: Mode, reason: str, worker: str, sha: str) -> Response:
    """The response of an item that could not be answered; `sha` is that of the prepared view."""
    return Response(
        key=key,
        item_id=item_id,
        condition=condition.key,
        mode=mode,
        image_sha256=sha,
        error=reason,
        worker=worker,
    )
