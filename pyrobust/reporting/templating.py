"""What all pages share: style sheet, templates and the filters that word numbers."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pyrobust.reporting import palette, wording


def css() -> str:
    """Return the style sheet of a page, in a light and a dark theme."""
    style = (Path(__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    return (
        f":root {{ {palette.as_css(palette.LIGHT)} }}\n"
        "@media screen and (prefers-color-scheme: dark) "
        f"{{ :root {{ {palette.as_css(palette.DARK)} }} }}\n{style}"
    )


def environment() -> Environment:
    """Return the templates, which refuse names that they are not given."""
    templates = Environment(
        loader=PackageLoader("pyrobust.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        percent=wording.percent,
        interval=wording.interval,
        points=wording.points,
        points_interval=wording.points_interval,
        duration=wording.duration,
        norm_name=wording.norm_name,
    )
    return templates
