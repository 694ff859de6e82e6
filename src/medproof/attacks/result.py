"""What an attack hands back, and how it remembers the best image it saw."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medproof.attacks.objective import Score


@dataclass(frozen=True, eq=False)
class AttackResult:
    """One entry per example, in the caller's order. Tensors live on the CPU.

    images: 8-bit images (3, H, W), float32 in [0, 1], inside the ball; the clean image where nothing better was found.
    success: (n,) bool, adversarial as 8-bit image by the score that drove the attack.
    loss: (n,) float32, of the returned image.
    forwards, backwards: (n,) int64, passes of the model that this example took part in.
    restarts_used: (n,) int64, restarts begun.
    zero_gradients: (n,) int64, steps whose gradient was exactly zero: a sign of masked gradients.
    broken: (n,) bool, a loss was NaN or a gradient not finite; the search for this example stopped there.
    """

    images: list[Tensor]
    success: Tensor
    loss: Tensor
    forwards: Tensor
    backwards: Tensor
    restarts_used: Tensor
    zero_gradients: Tensor
    broken: Tensor


class Tracker:
    """Keeps, per example, the best image offered: adversarial before not, then the higher loss, then the earlier."""

    def __init__(self, clean: Sequence[Tensor]) -> None:
        count = len(clean)
        self.images = list(clean)
        self.loss = [float("-inf")] * count
        self.success = [False] * count
        self.forwards = [0] * count
        self.backwards = [0] * count
        self.restarts_used = [0] * count
        self.zero_gradients = [0] * count
        self.broken = [False] * count

    def offer(self, index: int, image: Tensor, loss: float, adversarial: bool) -> None:
        """Remember `image` (8-bit) if it is better than what is held. A NaN loss is never better."""
        if loss != loss:
            self.broken[index] = True
        elif (adversarial, loss) > (self.success[index], self.loss[index]):
            self.images[index] = image.detach().clone()
            self.loss[index] = loss
            self.success[index] = adversarial

    def ask(self, score: Score, pixels: Sequence[Tensor], indices: Sequence[int]) -> Tensor:
        """Show the score 8-bit images of the examples `indices`, count and offer them. Returns the loss, (n,).

        With no example the score is not asked.

        Raises ValueError if loss or verdicts of the score are not (n,).
        """
        if not indices:
            return torch.zeros(0)
        loss, adversarial = score(pixels, indices)
        if loss.shape != (len(indices),) or adversarial.shape != (len(indices),):
            raise ValueError(f"the score of {len(indices)} images has shapes {loss.shape} and {adversarial.shape}")
        values, verdicts = loss.detach().float().tolist(), adversarial.tolist()
        for i, image, value, verdict in zip(indices, pixels, values, verdicts):
            self.forwards[i] += 1
            self.offer(i, image, value, verdict)
        return loss

    def goes_on(self, index: int, enough: float) -> bool:
        """Whether to search on: nothing broke, and not yet adversarial with a loss of at least `enough`."""
        return not self.broken[index] and not (self.success[index] and self.loss[index] >= enough)

    def merge(self, result: AttackResult, indices: Sequence[int]) -> None:
        """Take in what another search did for the examples `indices`: its best image and its cost."""
        for row, i in enumerate(indices):
            self.offer(i, result.images[row], float(result.loss[row]), bool(result.success[row]))
            self.forwards[i] += int(result.forwards[row])
            self.backwards[i] += int(result.backwards[row])
            self.restarts_used[i] += int(result.restarts_used[row])
            self.zero_gradients[i] += int(result.zero_gradients[row])
            self.broken[i] |= bool(result.broken[row])

    def survivors(self) -> list[int]:
        """Examples no attack has succeeded on, in order."""
        return [i for i, success in enumerate(self.success) if not success]

    def result(self) -> AttackResult:
        """Freeze into an AttackResult."""
        return AttackResult(
            images=[image.cpu() for image in self.images],
            success=torch.tensor(self.success, dtype=torch.bool),
            loss=torch.tensor(self.loss, dtype=torch.float32),
            forwards=torch.tensor(self.forwards, dtype=torch.int64),
            backwards=torch.tensor(self.backwards, dtype=torch.int64),
            restarts_used=torch.tensor(self.restarts_used, dtype=torch.int64),
            zero_gradients=torch.tensor(self.zero_gradients, dtype=torch.int64),
            broken=torch.tensor(self.broken, dtype=torch.bool),
        )
