"""Places that matter to a cage: numpy, the one package beside the standard library, and what must stay private."""

import importlib.util
from pathlib import Path


def numpy_folder() -> str | None:
    """The site-packages folder that numpy lies in; None where it is not installed."""
    spec = importlib.util.find_spec("numpy")
    return str(Path(spec.origin).parents[1]) if spec is not None and spec.origin else None


def numpy_paths() -> list[str]:
    """numpy and the libraries that came with it, nothing else of that folder."""
    folder = numpy_folder()
    paths = [] if folder is None else [Path(folder, name) for name in ("numpy", "numpy.libs")]
    return [str(path) for path in paths if path.exists()]


def private_folders(session: Path) -> list[str]:
    """Folders that no library may lie around: the person's home, and the folder of a session's hosts."""
    return [str(Path("~").expanduser()), str(session.resolve())]
