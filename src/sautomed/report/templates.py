"""The pages' templates: HTML that escapes what it is given, and one style for all of them."""

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template


def page_template(name: str) -> Template:
    """A template by its path in this package, such as "report/page.html"; it may include others likewise."""
    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def _source(name: str) -> str:
    return files("sautomed").joinpath(*name.split("/")).read_text(encoding="utf-8")
