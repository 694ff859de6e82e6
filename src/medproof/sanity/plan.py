"""Which attack is checked, and which conditions the checks ask for. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from medproof.conditions import arguments, resolve
from medproof.conditions.registry import kind_of
from medproof.errors import UserError
from medproof.records import Condition

WHOLE = {"linf": "1", "l2": "1000"}
"""An eps that no image can leave: every image of up to 577 x 577 pixels lies within 1000 of any other in l2."""
NOTHING = {"linf": "0/255", "l2": "0.001"}
"""Room for no change: the smallest change of an 8-bit image is 1/255."""
QUERIES = 200
"""Of the black-box search; on what it turns, it stops early."""
DEFAULT_STEPS = "20"
_ITERATIVE = ("pgd", "apgd")


@dataclass(frozen=True)
class Plan:
    """Conditions by the part they play. `ladder`: rising eps, the attack among them, the unbounded one last."""

    attack: Condition
    zero: Condition
    ladder: tuple[Condition, ...]
    single_step: Condition
    fewer: tuple[Condition, ...]
    doubled_steps: Condition
    doubled_restarts: Condition
    black_box: Condition
    noise: Condition

    @property
    def unbounded(self) -> Condition:
        return self.ladder[-1]

    @property
    def transfer(self) -> Condition:
        """The attack with images made on the surrogate; no condition of the registry."""
        return self.attack.model_copy(update={"name": "transfer"})

    @property
    def replayed(self) -> Condition:
        """The attack's images answered in the other precision; no condition of the registry."""
        return self.attack.model_copy(update={"name": "replayed"})

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the registry can run, clean first, each once."""
        effort = (*self.fewer, self.doubled_steps, self.doubled_restarts)
        every = (resolve("clean"), self.attack, self.zero, *self.ladder, self.single_step, *effort, self.black_box)
        return tuple({condition.key: condition for condition in (*every, self.noise)}.values())


def subject(conditions: Sequence[Condition]) -> Condition:
    """The attack to check: of the iterative white-box attacks of a run the one with the largest eps, then the most
    steps and restarts; where there is none, PGD at the largest eps that any attack of the run has.

    Raises UserError where no condition is an attack with an eps.
    """
    told = [(condition, arguments(condition)) for condition in conditions if kind_of(condition).perturb is not None]
    bounded = [(condition, given) for condition, given in told if given.get("eps") and given.get("norm")]
    if not bounded:
        raise UserError("--sanity checks an attack within a budget: add one, as in --condition 'pgd(linf,8/255,20)'")

    def rank(pair: tuple[Condition, dict[str, str]]) -> tuple[bool, Fraction, int]:
        condition, given = pair
        effort = int(given.get("steps", 1)) * int(given.get("restarts", 1))
        return condition.name in _ITERATIVE, Fraction(given["eps"]), effort

    condition, given = max(((c, dict(g)) for c, g in bounded), key=rank)
    if condition.name in _ITERATIVE:
        return condition
    return resolve(f"pgd({given['norm']},{given['eps']},{given.get('steps', DEFAULT_STEPS)})")


def plan(attack: Condition) -> Plan:
    """The conditions around `attack`, `pgd` or `apgd`. The objective and all else stay those of the attack."""
    given = arguments(attack)
    norm, eps, steps, restarts = given["norm"], Fraction(given["eps"]), int(given["steps"]), int(given["restarts"])
    sizes = [*dict.fromkeys(_part(norm, eps, parts) for parts in (4, 2)), given["eps"], WHOLE[norm]]
    fewer = [n for n in (steps // 4, steps // 2) if n > 0]
    return Plan(
        attack=attack,
        zero=varied(attack, eps=NOTHING[norm]),
        ladder=tuple({c.key: c for c in (varied(attack, eps=size) for size in sizes)}.values()),
        single_step=_single_step(norm, given["eps"], given["objective"]),
        fewer=tuple(varied(attack, steps=str(n)) for n in dict.fromkeys(fewer)),
        doubled_steps=varied(attack, steps=str(2 * steps)),
        doubled_restarts=varied(attack, restarts=str(2 * restarts)),
        black_box=resolve(f"square({norm},{given['eps']},{QUERIES})"),
        noise=resolve(f"{'random_sign' if norm == 'linf' else 'random_l2'}({given['eps']})"),
    )


def varied(condition: Condition, **changes: str) -> Condition:
    """The condition with some arguments replaced."""
    given = {**arguments(condition), **changes}
    return resolve(f"{condition.name}({','.join(f'{name}={value}' for name, value in given.items())})")


def _single_step(norm: str, eps: str, objective: str) -> Condition:
    """FGSM of the same objective, or of the margin where one step cannot drive at it."""
    try:
        return resolve(f"fgsm({norm},{eps},objective={objective})")
    except UserError:
        return resolve(f"fgsm({norm},{eps})")


def _part(norm: str, eps: Fraction, parts: int) -> str:
    """eps / parts, for linf in whole grey levels and at least one."""
    if norm == "l2":
        return str(eps / parts)
    return f"{max(1, int(eps * 255) // parts)}/255"
