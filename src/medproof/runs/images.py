"""The pixels the model saw, as PNG files named by the SHA-256 of shape and pixels (`records.pixels_sha256`)."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError
from medproof.records import pixels_sha256
from medproof.runs.atomic import disk_errors, fsync_folder, write_bytes

Pixels = npt.NDArray[np.uint8]
_THREADS = 8


class Images:
    """The images of one run, in one folder: a batch then costs one sync of a folder, not one per image."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "images"
        self._pool: ThreadPoolExecutor | None = None

    def path(self, sha: str) -> Path:
        return self.folder / f"{sha}.png"

    def write(self, images: Mapping[str, Pixels], worker: str) -> None:
        """Write those that are not there yet, and make them durable. Raises UserError on a full disk."""
        new = {sha: pixels for sha, pixels in images.items() if not self.path(sha).exists()}
        if not new:
            return
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        # In threads: compression leaves the interpreter free, and syncs made together share their cost.
        self._pool = self._pool or ThreadPoolExecutor(_THREADS, thread_name_prefix="images")
        writes = [self._pool.submit(self._write_one, sha, pixels, worker) for sha, pixels in new.items()]
        wait(writes)  # all of them, also when one fails: none may still be writing once this has raised
        for write in writes:
            write.result()
        with disk_errors(self.folder):
            fsync_folder(self.folder)

    def _write_one(self, sha: str, pixels: Pixels, worker: str) -> None:
        from medproof.images.png import encode_png

        write_bytes(self.path(sha), encode_png(pixels), tag=worker, sync_folder=False)

    def read(self, sha: str) -> Pixels | None:
        """uint8 (H, W, 3), or None where there is no such image. Raises UserError where the file is damaged."""
        from medproof.images.png import decode_png

        path = self.path(sha)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        pixels = decode_png(data)
        if pixels_sha256(pixels) != sha:
            raise UserError(f"{path} does not hold the pixels it is named after: delete it and run the item again")
        return pixels
