"""Attack on the image encoder alone: no question, no options, no text model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medproof.models.protocol import WhiteBox


class EncoderScore:
    """Squared distance of the visual tokens from those of the clean image, relative to their squared length.

    It calls nothing adversarial: whether the model is wrong, its replies have to tell. At the clean image itself the
    gradient is zero; a search has to begin elsewhere.
    """

    def __init__(self, model: WhiteBox, clean: Sequence[Tensor]) -> None:
        self.model = model
        self.opening_forwards = [1] * len(clean)
        with torch.no_grad():
            self.clean = [tokens.detach() for tokens in model.features(clean)] if clean else []  # each (tokens, D)

    def __call__(self, pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        pairs = [(tokens, self.clean[i]) for tokens, i in zip(self.model.features(pixels), indices, strict=True)]
        loss = torch.stack([(tokens - clean).square().sum() / clean.square().sum() for tokens, clean in pairs])
        return loss, torch.zeros(len(pairs), dtype=torch.bool, device=loss.device)
