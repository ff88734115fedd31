"""The rows of a sweep: a table of tab-separated values, or the combinations of a grid."""

import itertools
from pathlib import Path

from pyrobust.config.targets import TargetSettings
from pyrobust.errors import UserError


def grid_rows(target: str, settings: TargetSettings) -> list[tuple[int, dict[str, str]]]:
    """Return the combinations of a target's grid as rows of a sweep, with their numbers.

    Raises:
        UserError: the target has a sweep as well, or a column has no value.
    """
    if settings.sweep is not None:
        raise UserError(f"target '{target}' has both a sweep and a grid; remove one of them")
    empty = [column for column, values in settings.grid.items() if not values]
    if empty:
        raise UserError(f"grid.{empty[0]} of target '{target}' is empty; name one value or more")
    columns = [[_cell(value) for value in values] for values in settings.grid.values()]
    rows = itertools.product(*columns)
    return [(number, dict(zip(settings.grid, row, strict=True))) for number, row in enumerate(rows)]


def _cell(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_sweep(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a table with their line numbers; lines that start with # are remarks.

    Raises:
        UserError: the file is missing or not text, a column appears twice, or a row has more or
            fewer cells than the head.
    """
    try:
        # Spreadsheets start a file with a byte order mark.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"cannot read the sweep {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    kept = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]
    if len(kept) < 2:
        raise UserError(f"{path} has no rows; expected a header and one row per point")
    cells = [(number, [cell.strip() for cell in line.split("\t")]) for number, line in kept]
    head = cells[0][1]
    twice = {key for key in head if head.count(key) > 1}
    if twice:
        raise UserError(f"{path}: duplicate column '{min(twice)}'; remove one")
    for number, row in cells[1:]:
        if len(row) != len(head):
            raise UserError(
                f"{path}, line {number}: {len(row)} cells, but the header has {len(head)}; "
                "separate cells by tabs"
            )
    return [(number, dict(zip(head, row, strict=True))) for number, row in cells[1:]]
