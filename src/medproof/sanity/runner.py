"""Run the checks of an attack evaluation and write sanity.json beside it.

What the checks need beyond the run is answered into RUN/sanity/N, a run of its own over N of the items: whatever it
holds is not answered again, and what RUN holds already is copied.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import cast

import torch

from medproof.attacks import Norm, ThreatModel, pgd
from medproof.attacks.search import Search
from medproof.attacks.step_rules import StepRule
from medproof.conditions import Context, arguments, check_model, perturb, prepare
from medproof.datasets import Dataset
from medproof.evaluation.images import ImageLoader
from medproof.evaluation.loop import BATCH_TOKENS, evaluate
from medproof.evaluation.prepare import Conditioner
from medproof.evaluation.progress import Progress
from medproof.evaluation.provenance import run_meta
from medproof.models.prompts import answer_prefix
from medproof.models.protocol import Model, WhiteBox
from medproof.records import Condition, Item, Mode, View
from medproof.runs.sanity_file import write_sanity
from medproof.runs.store import RunStore, read_run
from medproof.sanity import checks, planted
from medproof.sanity.checks import Check
from medproof.sanity.plan import Plan, plan, subject
from medproof.sanity.probes import Slots, features_of, margins, pixels_of, smoothness, stock_margins
from medproof.sanity.weights import in_precision, noisy
from medproof.scoring.attack_key import attacks
from medproof.scoring.curves import convergence
from medproof.scoring.scored import CLEAN, Scored, score
from medproof.seeds import derive_seed

FOLDER = "sanity"
ITEMS = 64
PLANTED_ITEMS = 16
"""Of the items: each readout takes a hundred and thirty forward passes."""
Report = Callable[[Progress], None]


def run_sanity(
    model: Model,
    dataset: Dataset,
    conditions: Sequence[Condition],
    run: Path,
    *,
    model_spec: str,
    mode: Mode,
    seed: int,
    n_items: int = ITEMS,
    batch_tokens: int = BATCH_TOKENS,
    allow_identified: bool = False,
    progress: Report | None = None,
) -> Path:
    """Check the attack of `conditions` that carries most weight (`plan.subject`); returns the path of sanity.json.

    dataset: the items of the run at `run`; a fixed choice of `n_items` of them is used. Interrupted, the same call goes
    on where it ended. Raises UserError where no condition attacks within a budget or the model gives no gradients, and
    KeyboardInterrupt after an interruption.
    """
    attack = subject(conditions)
    check_model(attack, model)
    some = dataset.filter(limit=n_items)
    load = ImageLoader(some, model.grid, allow_identified=allow_identified)
    context = Context(dataset=some, seed=seed, mode=mode, model=model, load=load)
    whole = plan(attack)
    meta = run_meta(model, model_spec, some, whole.conditions, mode=mode, seed=seed, limit=n_items)
    with RunStore(run / FOLDER / str(n_items)).create(meta, some.items) as store:
        _carry_over(run, store, some.items, whole)
        made = _Run(cast(WhiteBox, model), some, store, context, whole, progress or _silent, batch_tokens)
        made.answer()
        scored = score(read_run(store.path))
        found = made.check(scored)
    keys = attacks([c.key for c in whole.conditions], scored.meta.get("arguments"))
    content = {
        "schema": 1,
        "subject": attack.key,
        "attacks": [key.condition for key in attacks(c.key for c in conditions)],
        "n_items": len(some.items),
        "checks": [check.to_json() for check in found],
        "convergence": [curve for curve in convergence(scored, keys) if curve["attack"] == attack.name],
    }
    return write_sanity(run, content)


def _silent(_: Progress) -> None:
    """No progress asked for."""


def _carry_over(run: Path, store: RunStore, items: Sequence[Item], whole: Plan) -> None:
    """Copy what the run itself has answered already: the keys of responses are the same in both."""
    parent = RunStore(run)
    wanted = {condition.key for condition in whole.conditions}
    ids, present = {item.id for item in items}, store.present_keys()
    new = [
        response
        for response in parent.responses()
        if response.condition in wanted
        and response.item_id in ids
        and response.error is None
        and response.key not in present
    ]
    images = {sha: pixels for sha in {r.image_sha256 for r in new} if (pixels := parent.image(sha)) is not None}
    if new:
        store.append(new, images)


@dataclass(eq=False)
class _Run:
    model: WhiteBox
    dataset: Dataset
    store: RunStore
    context: Context
    plan: Plan
    progress: Report
    batch_tokens: int

    def answer(self) -> None:
        """Everything that needs replies, into the store."""
        self._evaluate(self.plan.conditions)
        net = self._net()
        if net is None:
            return
        surrogate = Conditioner(self._prepare, lambda _: True, self._on_surrogate, self.context)
        self._evaluate([self.plan.transfer], surrogate)
        replay = Conditioner(self._replay, lambda _: False, lambda _, views, __: views, self.context)
        with in_precision(net, _precisions(net)[1]):
            self._evaluate([self.plan.replayed], replay)

    def check(self, scored: Scored) -> list[Check]:
        """All checks, in the order of the catalogue."""
        told, attack = self.plan, self.plan.attack.key
        harder = [told.doubled_steps.key, told.doubled_restarts.key]
        ladder = [condition.key for condition in told.ladder]
        clean, attacked = self._slots(scored, CLEAN), self._slots(scored, attack)
        return [
            checks.eps_zero(scored, told.zero.key),
            checks.monotone(scored, ladder),
            checks.unbounded(scored, told.unbounded.key),
            checks.beats("single_step", scored, attack, told.single_step.key),
            checks.effort(scored, attack, harder),
            checks.optimised(scored, told.zero.key, attack, told.doubled_steps.key),
            self._of_weights(scored, "transfer"),
            checks.beats("black_box", scored, attack, told.black_box.key),
            checks.beats("noise", scored, attack, told.noise.key),
            checks.gradients(scored, attack),
            checks.smooth(*smoothness(self.model, clean, self.context.seed)),
            checks.silent_success(scored, [attack, *ladder, *harder]),
            checks.judged_path(
                list(zip(margins(self.model, attacked), stock_margins(self.model, attacked), strict=True))
            ),
            self._of_weights(scored, "precision"),
            self._planted(clean),
        ]

    def _evaluate(self, conditions: Sequence[Condition], how: Conditioner | None = None) -> None:
        summary = evaluate(
            self.model,
            self.dataset,
            conditions,
            self.store,
            mode=self.context.mode,
            seed=self.context.seed,
            batch_tokens=self.batch_tokens,
            progress=self.progress,
            how=how,
        )
        if summary.interrupted:
            raise KeyboardInterrupt

    def _of_weights(self, scored: Scored, name: str) -> Check:
        net = self._net()
        if net is None:
            return checks.not_run(name, "the model does not give access to its weights")
        attack = self.plan.attack.key
        if name == "transfer":
            return checks.beats(name, scored, attack, self.plan.transfer.key)
        run_in, other = (str(dtype).removeprefix("torch.") for dtype in _precisions(net))
        return checks.precision(scored, attack, self.plan.replayed.key, run_in, other)

    def _net(self) -> torch.nn.Module | None:
        """No level of the protocol gives out weights; a local model has them."""
        net = getattr(self.model, "net", None)
        return net if isinstance(net, torch.nn.Module) else None

    def _prepare(self, condition: Condition, items: Sequence[Item], context: Context) -> list[View | None]:
        views = prepare(self.plan.attack, items, context)
        return [None if view is None else replace(view, condition=condition.key) for view in views]

    def _on_surrogate(self, _: Condition, views: Sequence[View], context: Context) -> list[View]:
        """Images made on the model with noisy weights; the reply to them comes from the model itself."""
        net = self._net()
        assert net is not None  # else the surrogate is not asked for
        with noisy(net, context.seed):
            return perturb(self.plan.attack, views, context)

    def _replay(self, condition: Condition, items: Sequence[Item], context: Context) -> list[View | None]:
        """The attacked images that are stored."""
        found = {r.item_id: r for r in self.store.responses() if r.condition == self.plan.attack.key and not r.error}
        return [
            context.view(item, condition, self.store.image(found[item.id].image_sha256)) if item.id in found else None
            for item in items
        ]

    def _slots(self, scored: Scored, key: str) -> Slots:
        """The images of a condition with the answer slots of the replies to them."""
        replies = {i: r for i, r in scored.responses[key].items() if r.error is None}
        condition = Condition.parse(key)
        views = [
            self.context.view(scored.items[i], condition, self.store.image(r.image_sha256)) for i, r in replies.items()
        ]
        direct = self.context.mode == "direct"
        return Slots(views, None if direct else [answer_prefix(reply.text) for reply in replies.values()])

    def _planted(self, clean: Slots) -> Check:
        some = clean.take(range(min(PLANTED_ITEMS, len(clean.views))))
        given = arguments(self.plan.attack)
        threat = ThreatModel(cast(Norm, given["norm"]), Fraction(given["eps"]))
        seeds = [derive_seed(self.context.seed, view.item.id, "planted") for view in some.views]
        images = pixels_of(self.model, some.views)
        found = planted.search(features_of(self.model, some), images, threat, searcher(self.plan.attack), seeds)
        return checks.planted(sum(found.attack), sum(found.chance), len(images))


def _precisions(net: torch.nn.Module) -> tuple[torch.dtype, torch.dtype]:
    """Of the weights, and the other one to compare with."""
    own = next(p.dtype for p in net.parameters() if p.is_floating_point())
    return own, torch.bfloat16 if own == torch.float32 else torch.float32


def searcher(condition: Condition) -> Search:
    """The search of `pgd` or `apgd` with its settings, ready for any score."""
    given = arguments(condition)
    rule = cast(StepRule, given.get("rule", "auto"))
    return partial(pgd, steps=int(given["steps"]), restarts=int(given["restarts"]), rule=rule)
