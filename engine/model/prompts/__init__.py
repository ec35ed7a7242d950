"""The prompts as files, short and plain, and the one function that fills them in."""

from functools import cache
from importlib.resources import files
from string import Template


def render(name: str, **parts: object) -> str:
    """The prompt `name` with `$part` filled in. Raises KeyError when a part is missing."""
    return _template(name).substitute({key: str(value) for key, value in parts.items()})


@cache
def _template(name: str) -> Template:
    return Template(files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8"))
