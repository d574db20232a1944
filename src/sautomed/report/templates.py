"""Templates of the pages: HTML that escapes all values, with one style sheet and the filters that format numbers."""

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from sautomed.report.table import bounds, fixed, interval_text, number_text


def page_template(name: str) -> Template:
    """Load a template by its path in the package, such as "report/page.html"; it includes others by such paths too."""
    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(fixed=fixed, bounds=bounds, number=number_text, interval=interval_text)
    return environment.get_template(name)


def _source(name: str) -> str:
    return files("sautomed").joinpath(name).read_text(encoding="utf-8")
