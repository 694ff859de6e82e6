"""Training folders as the page shows them: curves of metrics.jsonl, several seeds of one recipe over each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup

from medproof.errors import UserError
from medproof.report.completions import Browser
from medproof.report.step_plot import Line, bin_size, binned, step_plot
from medproof.report.tables import Cell
from medproof.report.wording import MISSING, percent, points

SEEN, BLANK, ATTACKED = "eval/accuracy", "eval/blank_accuracy", "eval/robust_accuracy"
Series = list[tuple[int, float]]

_PLAIN = {
    "reward": "Reward",
    "adv/reward_attacked": "Reward on attacked images",
    "adv/reward_clean": "Reward on clean images",
    "kl": "KL to the initial model",
    "entropy": "Entropy per token",
    "completions/mean_length": "Tokens per completion",
    "loss": "Loss",
    "grad_norm": "Gradient norm",
}
_SHARES = {
    "frac_reward_zero_std": "Groups that teach nothing (all rewards equal)",
    "adv/frac_reward_zero_std_attacked": "Attacked groups that teach nothing",
    "completions/clipped_ratio": "Completions cut at the length limit",
    "time/attack_share": "The attack's share of a step",
}
COLUMNS = ("Steps", "Reward", "Accuracy", "Under attack", "On a blank image", "Difference", "Seconds per step")
_ENDS = 10  # the first and the last tenth of the steps are "start" and "end"


@dataclass(frozen=True)
class Training:
    """One training folder. series: values by metric, (step, value) in order; recipe: None where none is stored yet."""

    name: str
    recipe: Mapping[str, Any] | None
    series: Mapping[str, Series]

    @property
    def seed(self) -> Any:
        return (self.recipe or {}).get("seed")

    @property
    def steps(self) -> int:
        return max((values[-1][0] for values in self.series.values()), default=0)

    def ends(self, key: str, several: bool = True) -> tuple[float, float] | None:
        """A metric at the start and at the end: of `several` values the means of a tenth each, else first and last."""
        values = [value for _, value in self.series.get(key, ())]
        if not values:
            return None
        count = max(1, len(values) // _ENDS) if several else 1
        return fmean(values[:count]), fmean(values[-count:])

    def to_json(self) -> dict[str, Any]:
        """For report.json: what is plotted, thinned out as it is plotted."""
        recipe = self.recipe or {}
        return {
            "name": self.name,
            "kind": recipe.get("kind"),
            "recipe": recipe.get("name"),
            "seed": self.seed,
            "init": (recipe.get("model") or {}).get("init"),
            "steps": self.steps,
            "series": {
                key: [list(point) for point in binned(values)]
                for key, values in sorted(self.series.items())
                if key in (SEEN, BLANK, ATTACKED, *_PLAIN, *_SHARES) or _is_reward(key)
            },
        }


def is_training(path: Path) -> bool:
    """Whether `path` is a folder that `medproof train` writes into."""
    return (path / "metrics.jsonl").is_file() and not (path / "run.json").exists()


def read_training(path: Path) -> Training:
    """Raises UserError where metrics.jsonl is damaged. An unfinished last line, of a run in progress, is left out."""
    file = path / "metrics.jsonl"
    series: dict[str, Series] = {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        try:
            row = json.loads(line)
            step = int(row.pop("step"))
            numbers = {key: float(value) for key, value in row.items() if isinstance(value, int | float)}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{file} line {number} is no row of metrics ({type(error).__name__}): remove it") from error
        for key, value in numbers.items():
            if value - value == 0:  # neither NaN nor infinite
                series.setdefault(key, []).append((step, value))
    return Training(path.resolve().name, _recipe(path), series)


def _recipe(path: Path) -> Mapping[str, Any] | None:
    """From the newest checkpoint, else from the finished model."""
    checkpoints = sorted(path.glob("checkpoints/step-*/trainer.json"), reverse=True)
    for file in [*checkpoints, path / "model" / "training.json"]:
        try:
            recipe = json.loads(file.read_text(encoding="utf-8"))["recipe"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(recipe, Mapping):
            return recipe
    return None


@dataclass(frozen=True)
class Member:
    """One training of a family as the page shows it."""

    label: str
    style: str
    marker: str
    cells: tuple[Cell, ...]
    browser: Browser | None


@dataclass(frozen=True)
class Panel:
    title: str
    plot: Markup
    note: str = ""


@dataclass(frozen=True)
class Family:
    """Trainings that differ in their seed only. looking: accuracy with and without the image, the plot that matters;
    bin: steps per point."""

    title: str
    about: str
    members: tuple[Member, ...]
    looking: Panel | None
    panels: tuple[Panel, ...]
    bin: int


def families(trainings: Sequence[Training], browsers: Sequence[Browser | None]) -> list[Family]:
    """In the order in which their first member was given."""
    found: dict[str, list[int]] = {}
    for place, training in enumerate(trainings):
        found.setdefault(_all_but_seed(training, place), []).append(place)
    return [
        _family(number, [trainings[i] for i in places], [browsers[i] for i in places])
        for number, places in enumerate(found.values())
    ]


def _all_but_seed(training: Training, place: int) -> str:
    if training.recipe is None:
        return str(place)
    ignored = ("seed", "name", "checkpoint", "trackers")
    return json.dumps({k: v for k, v in training.recipe.items() if k not in ignored}, sort_keys=True)


def _family(number: int, trainings: Sequence[Training], browsers: Sequence[Browser | None]) -> Family:
    seeds = [training.seed for training in trainings]
    tell_by_seed = len(trainings) > 1 and len(set(seeds)) == len(seeds)
    labels = [f"seed {training.seed}" if tell_by_seed else training.name for training in trainings]
    markers = ("circle", "square", "diamond", "triangle")
    members = tuple(
        Member(label, f"run{place % 4}", markers[place % 4], _cells(training), browser)
        for place, (label, training, browser) in enumerate(zip(labels, trainings, browsers, strict=True))
    )
    series = [training.series for training in trainings]
    rewards = sorted({key for one in series for key in one if _is_reward(key)})
    each = {key: f"Reward: {key.removeprefix('rewards/').removesuffix('/mean')}" for key in rewards}
    titles = {"reward": _PLAIN["reward"]} | each | _PLAIN | _SHARES
    panels = []
    for place, (key, title) in enumerate(titles.items()):
        lines = _lines(key, series, labels)
        if lines:
            panels.append(Panel(title, step_plot(f"train-{number}-{place}", title, lines, share=key in _SHARES), key))
    return Family(
        title=trainings[0].name if len(trainings) == 1 else str((trainings[0].recipe or {}).get("name")),
        about=_about(trainings[0].recipe),
        members=members,
        looking=_looking(number, series, labels),
        panels=tuple(panels),
        bin=max((bin_size(len(values)) for one in series for values in one.values()), default=1),
    )


def _lines(key: str, series: Sequence[Mapping[str, Series]], labels: Sequence[str], style: str = "") -> list[Line]:
    return [
        Line(label, binned(one[key]), f"run{place % 4}{style}", dots=key in (SEEN, BLANK, ATTACKED))
        for place, (one, label) in enumerate(zip(series, labels, strict=True))
        if one.get(key)
    ]


def _looking(number: int, series: Sequence[Mapping[str, Series]], labels: Sequence[str]) -> Panel | None:
    seen = _lines(SEEN, series, [f"{label}, with the image" for label in labels])
    blank = _lines(BLANK, series, [f"{label}, on a blank image" for label in labels], " blind")
    if not seen:
        return None
    attacked = _lines(ATTACKED, series, [f"{label}, under attack" for label in labels], " attacked")
    title = f"Accuracy with the image{', under attack' if attacked else ''} and on a blank one"
    note = f"solid: with the image; {'dotted: attacked; ' if attacked else ''}dashed: blank"
    return Panel(title, step_plot(f"train-{number}-looking", title, [*seen, *attacked, *blank], share=True), note)


def _cells(training: Training) -> tuple[Cell, ...]:
    seconds = training.ends("step_time")
    seen, attacked, blank = (training.ends(key, several=False) for key in (SEEN, ATTACKED, BLANK))
    apart = (seen[0] - blank[0], seen[1] - blank[1]) if seen and blank else None
    return (
        Cell(str(training.steps)),
        _from_to(training.ends("reward"), lambda value: f"{value:.3f}"),
        _from_to(seen, percent),
        _from_to(attacked, percent),
        _from_to(blank, percent),
        _from_to(apart, points),
        Cell(MISSING if seconds is None else f"{fmean(v for _, v in training.series['step_time']):.2f}"),
    )


def _from_to(ends: tuple[float, float] | None, shown: Callable[[float], str]) -> Cell:
    return Cell(MISSING) if ends is None else Cell(shown(ends[1]), f"from {shown(ends[0])}")


def _about(recipe: Mapping[str, Any] | None) -> str:
    """The recipe in one line; empty where it is not known."""
    if recipe is None:
        return ""
    data, grpo = recipe.get("data") or {}, recipe.get("grpo") or {}
    kept = [*(data.get("modalities") or ()), *(data.get("question_types") or ())]
    parts = [
        f"{recipe.get('kind')} of {(recipe.get('model') or {}).get('init')} on {data.get('train')}",
        f"only {', '.join(map(str, kept))}" if kept else "",
        f"prompts: {', '.join(data.get('modes') or ())}",
        f"loss {grpo['loss_type']}, G {grpo['num_generations']}, beta {grpo['beta']:g}" if grpo else "",
    ]
    return "; ".join(filter(None, parts))


def _is_reward(key: str) -> bool:
    return key.startswith("rewards/") and key.endswith("/mean")
