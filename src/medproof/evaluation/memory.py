"""Out of memory: told apart from other failures, and cleaned up after. Imports torch only where it is in use."""

import gc
import sys

_PHRASES = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad allocation")


def is_out_of_memory(error: BaseException) -> bool:
    """True for torch.OutOfMemoryError (any device), MemoryError, and the RuntimeErrors CPU allocators raise."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in _PHRASES)


def free_memory() -> None:
    """Give cached blocks back. Call it after the exception is gone: its traceback keeps the batch alive."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
