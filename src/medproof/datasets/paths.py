"""Files of a data set stay inside its root."""

from pathlib import Path, PurePosixPath

from medproof.errors import UserError


def inside(root: Path, relative: str) -> Path:
    """`root / relative`, resolved.

    Raises UserError where the result lies outside `root`, be it by "..", by an absolute path or through a link.
    """
    refuse_escape(relative)
    base = root.resolve()
    path = (base / relative).resolve()
    if not path.is_relative_to(base):
        raise UserError(
            f"path {relative!r} leaves the data folder {root} through a link: only files inside it are "
            "read; copy the file into the folder"
        )
    return path


def refuse_escape(relative: object) -> None:
    """Raise UserError for a path that cannot lie inside any root: absolute, with "..", with a drive or a backslash.

    Looks at the text alone. Anything but text is left to the validation of the row.
    """
    if not isinstance(relative, str):
        return
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\\" in relative or "\0" in relative or relative[1:3] == ":/":
        raise UserError(
            f"path {relative!r} leaves the data folder: paths are relative to it, without '..' and with forward "
            "slashes; correct the row"
        )
