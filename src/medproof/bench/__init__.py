"""The stepwise benchmark: annotated images -> cases -> chains of items, S1 to S4, each with its evidence. No torch.

`build` makes a folder that `medproof run --data DIR/items.jsonl` reads; `steps` orders one case's items.
"""

from medproof.bench.chains import steps
from medproof.bench.save import Built, build
from medproof.bench.task import Task, task_of

__all__ = ["Built", "Task", "build", "steps", "task_of"]
