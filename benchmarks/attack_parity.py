"""Our attacks beside foolbox, ART and AutoAttack on one small robust classifier, in one run.

    python benchmarks/attack_parity.py --autoattack-python ENV/bin/python --out benchmarks/results/attack_parity.json

Needs scikit-learn, foolbox and adversarial-robustness-toolbox. AutoAttack runs in an environment of its own that has
torch, safetensors and pyautoattack; without one that row is left out. 397 digits at 16 x 16, eps = 25/255.
Whatever a library returns is judged by the same code: in the ball and the box or it does not count; classified again as
float images, and as 8-bit images that were rounded, clamped to the ball, written as PNG and read back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import digits
import numpy as np
import torch
from digits_net import DigitsNet, predictions, save
from PIL import Image
from torch import Tensor

from medproof.attacks.carlini_wagner import cw_l2
from medproof.attacks.classifier import ClassifierScore
from medproof.attacks.ddn import ddn
from medproof.attacks.minimal import MinimalResult
from medproof.attacks.pgd import apgd, pgd
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.square import square
from medproof.attacks.targeted import closest_first, subset, targeted
from medproof.attacks.threat import ThreatModel, levels, to_images
from medproof.evaluation.provenance import hardware

THREAT = ThreatModel("linf", Fraction(25, 255))
EPS = 25 / 255
STEPS = 40
PACKAGES = ("medproof", "torch", "numpy", "scikit-learn", "foolbox", "adversarial-robustness-toolbox")


@dataclass(frozen=True)
class Case:
    """What every library gets. images: [N, 1, 16, 16], n/255; labels: [N]."""

    net: DigitsNet
    images: Tensor
    labels: Tensor
    seed: int

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + len(self.labels))

    def score(self, loss: Any = "margin", targets: Tensor | None = None) -> ClassifierScore:
        return ClassifierScore(self.net, self.labels, loss, targets)


def our_pgd(case: Case) -> Tensor:
    return torch.stack(pgd(case.score(), list(case.images), THREAT, steps=STEPS, seeds=case.seeds).images)


def our_apgd(case: Case) -> Tensor:
    return torch.stack(apgd(case.score("ce"), list(case.images), THREAT, steps=STEPS, seeds=case.seeds).images)


def our_ladder(case: Case) -> Tensor:
    """Cheap to dear, each on the survivors of the last."""
    order = closest_first(case.net(case.images), case.labels)

    def sweep(todo: list[int], images: list[Tensor], seeds: list[int]) -> AttackResult:
        scores = [subset(case.score(targets=order[:, rank]), todo) for rank in range(order.shape[1])]
        step = partial(apgd, steps=20, enough=0.0)
        return targeted(scores.__getitem__, [len(scores)] * len(todo), step, images, THREAT, seeds=seeds)

    def plain(attack: Callable[..., AttackResult], loss: str, **options: Any) -> Callable[..., AttackResult]:
        return lambda todo, images, seeds: attack(
            subset(case.score(loss), todo), images, THREAT, seeds=seeds, enough=0.0, **options
        )

    tracker = Tracker(list(case.images))
    for member in (
        plain(pgd, "margin", steps=STEPS),
        plain(apgd, "ce", steps=STEPS),
        sweep,
        plain(square, "margin", queries=100),
    ):
        todo = tracker.survivors()
        if todo:
            tracker.merge(member(todo, [case.images[i] for i in todo], [case.seeds[i] for i in todo]), todo)
    return torch.stack(tracker.result().images)


def foolbox_pgd(case: Case) -> Tensor:
    import foolbox

    torch.manual_seed(case.seed)
    model = foolbox.PyTorchModel(case.net, bounds=(0, 1), device="cpu")
    _, images, _ = foolbox.attacks.LinfPGD(steps=STEPS)(model, case.images, case.labels, epsilons=EPS)
    return torch.as_tensor(images)


def art_pgd(case: Case) -> Tensor:
    from art.attacks.evasion import ProjectedGradientDescent

    np.random.seed(case.seed)
    attack = ProjectedGradientDescent(
        _art_classifier(case),
        eps=EPS,
        eps_step=2.5 * EPS / STEPS,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=len(case.labels),
        verbose=False,
    )
    return torch.tensor(attack.generate(case.images.numpy(), case.labels.numpy()))


def autoattack(case: Case, python: str) -> tuple[Tensor, dict[str, Any]]:
    """Images, and seconds and versions as the other environment tells them."""
    with tempfile.TemporaryDirectory() as folder:
        weights, given, attacked = (str(Path(folder) / name) for name in ("net.safetensors", "in.npz", "out.npz"))
        save(case.net, Path(weights))
        np.savez(given, images=case.images.numpy(), labels=case.labels.numpy())
        script = str(Path(__file__).with_name("autoattack_peer.py"))
        options = [weights, given, attacked, str(EPS), str(case.seed), str(torch.get_num_threads())]
        done = subprocess.run([python, script, *options], check=True, capture_output=True, text=True)
        with np.load(attacked) as data:
            return torch.tensor(data["images"]), json.loads(done.stdout.splitlines()[-1])


def our_cw(case: Case) -> MinimalResult:
    return cw_l2(case.score(), list(case.images), steps=200, search_steps=9, seeds=case.seeds)


def our_ddn(case: Case) -> MinimalResult:
    return ddn(case.score(), list(case.images), steps=100, seeds=case.seeds)


def foolbox_l2(case: Case, name: str, **options: Any) -> Tensor:
    import foolbox

    model = foolbox.PyTorchModel(case.net, bounds=(0, 1), device="cpu")
    _, images, _ = getattr(foolbox.attacks, name)(**options)(model, case.images, case.labels, epsilons=None)
    return torch.as_tensor(images)


def _art_classifier(case: Case) -> Any:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        case.net, torch.nn.CrossEntropyLoss(), input_shape=(1, 16, 16), nb_classes=10, clip_values=(0, 1)
    )


def reread(images: Tensor) -> Tensor:
    """The images as an 8-bit PNG gives them back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "strip.png"
        Image.fromarray(levels(images, exact=False).to(torch.uint8).reshape(-1, images.shape[-1]).numpy()).save(path)
        back = np.asarray(Image.open(path)).reshape(tuple(images.shape))
    return to_images(torch.tensor(back))


def judge_linf(case: Case, images: Tensor) -> dict[str, float]:
    """Robust accuracy in percent, of the float images and of the re-read 8-bit ones."""
    delta = (images - case.images).abs().flatten(1).amax(1)
    legal = (delta <= EPS + 1e-6) & (images.flatten(1).amin(1) >= 0) & (images.flatten(1).amax(1) <= 1)
    wrong = (predictions(case.net, images) != case.labels) & legal
    on_disk = reread(THREAT.finish(images, case.images))
    held = all(THREAT.contains(a, b) for a, b in zip(on_disk, case.images))
    assert held, "the 8-bit finish left the ball"
    return {
        "robust_float": _percent(~wrong),
        "robust_8bit": _percent(predictions(case.net, on_disk) == case.labels),
        "outside": int((~legal).sum()),
    }


def judge_l2(case: Case, images: Tensor) -> dict[str, float]:
    """Distance to the closest images, those that do not fool the network at infinity."""

    def distances(shown: Tensor) -> Tensor:
        length = (shown - case.images).double().flatten(1).norm(dim=1)
        return torch.where(predictions(case.net, shown) != case.labels, length, torch.inf)

    given, on_disk = distances(images), distances(reread(images))
    found = given[given.isfinite()]
    return {
        "median": round(float(given.median()), 5),
        "mean_found": round(float(found.mean()), 5),
        "found": int(given.isfinite().sum()),
        "median_8bit": round(float(on_disk.median()), 5),
        "found_8bit": int(on_disk.isfinite().sum()),
    }


def run(case: Case, *, autoattack_python: str | None, foolbox_cw_steps: int) -> dict[str, dict[str, Any]]:
    """Every attack on the case: what it reached and in how many seconds."""
    contest: dict[str, Callable[[Case], Tensor]] = {
        "foolbox PGD": foolbox_pgd,
        "ART PGD": art_pgd,
        "medproof PGD": our_pgd,
        "medproof PGD, rule auto": our_apgd,
        "medproof ladder": our_ladder,
    }
    minimal: dict[str, Callable[[Case], Tensor]] = {
        "foolbox C&W": partial(foolbox_l2, name="L2CarliniWagnerAttack", steps=foolbox_cw_steps),
        "foolbox DDN": partial(foolbox_l2, name="DDNAttack", steps=100),
        "medproof C&W": lambda case: torch.stack(our_cw(case).images),
        "medproof DDN": lambda case: torch.stack(our_ddn(case).images),
    }
    linf = {name: _timed(judge_linf, case, attack) for name, attack in contest.items()}
    other: dict[str, str] = {}
    if autoattack_python is not None:
        images, told = autoattack(case, autoattack_python)
        linf["AutoAttack standard"] = {**judge_linf(case, images), "seconds": round(told["seconds"], 2)}
        other = told["versions"]
    l2 = {name: _timed(judge_l2, case, attack) for name, attack in minimal.items()}
    return {"linf": linf, "l2": l2, "autoattack_versions": other}


def claims(results: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """What the figures must show."""
    linf, l2 = results["linf"], results["l2"]
    ladder = linf["medproof ladder"]
    pgds = [row["robust_float"] for name, row in linf.items() if name.endswith("PGD")]
    told = {
        "ladder <= every PGD": ladder["robust_8bit"] <= min(pgds),
        "PGD, rule auto <= every library's PGD": linf["medproof PGD, rule auto"]["robust_8bit"]
        <= min(linf[name]["robust_float"] for name in ("foolbox PGD", "ART PGD")),
        "C&W median <= foolbox's": l2["medproof C&W"]["median_8bit"] <= l2["foolbox C&W"]["median"],
    }
    if reference := linf.get("AutoAttack standard"):
        told["ladder <= AutoAttack + 0.3 points"] = ladder["robust_8bit"] <= reference["robust_float"] + 0.3
        told["in at most a fifth of its time"] = ladder["seconds"] <= reference["seconds"] / 5
    return told


def make_case(count: int = digits.TEST, *, seed: int = 0, epochs: int = digits.EPOCHS) -> Case:
    """The network trained, and the first `count` test images."""
    training, (images, labels) = digits.digits()
    net = digits.train(*training, EPS, seed=seed, epochs=epochs)
    return Case(net, images[:count], labels[:count], seed)


def main() -> None:
    """Train, run every library, write one JSON file and say which claims hold."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    began = time.perf_counter()
    case = make_case(seed=args.seed)
    trained = time.perf_counter() - began
    results = run(case, autoattack_python=args.autoattack_python, foolbox_cw_steps=args.foolbox_cw_steps)
    report = {
        **results,
        "claims": claims(results),
        "setting": {
            "eps": "25/255",
            "steps": STEPS,
            "images": len(case.labels),
            "seed": args.seed,
            "threads": args.threads,
            "foolbox_cw_steps": args.foolbox_cw_steps,
            "training_seconds": round(trained, 1),
            "clean_accuracy": _percent(predictions(case.net, case.images) == case.labels),
        },
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "hardware": hardware(),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for table in ("linf", "l2"):
        for name, row in results[table].items():
            print(f"{name:20} {row}")
    print(f"{report['claims']}\nwritten to {args.out}")


def _timed(judge: Callable[[Case, Tensor], dict[str, float]], case: Case, attack: Callable[[Case], Tensor]) -> Any:
    began = time.perf_counter()
    images = attack(case)
    seconds = time.perf_counter() - began
    return {**judge(case, images.detach().cpu()), "seconds": round(seconds, 2)}


def _percent(right: Tensor) -> float:
    return round(100 * float(right.double().mean()), 2)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoattack-python", help="Python of an environment with pyautoattack")
    parser.add_argument("--foolbox-cw-steps", type=int, default=1000, help="steps of each of foolbox's 9 searches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
