"""One share of a stage that several jobs work on at once."""

import re
from dataclasses import dataclass
from typing import Self

from pyrobust.errors import UserError


@dataclass(frozen=True)
class Share:
    """Job `number`, from 1, of the `of` jobs that share a stage."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the share that "1/4" spells.

        Raises:
            UserError: the text is not such a pair, or the number is above the count.
        """
        match = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
        if match is None or int(match[1]) > int(match[2]):
            raise UserError(f"share is '{text}', expected NUMBER/OF such as 1/4, from 1/4 to 4/4")
        return cls(int(match[1]), int(match[2]))

    def rows(self, count: int, unit: int = 1) -> range:
        """Return the rows of this share: all shares together are `count` rows, none twice.

        Args:
            unit: rows that stay together.
        """
        units = -(-count // unit)
        first, stop = (
            units * number // self.of * unit for number in (self.number - 1, self.number)
        )
        return range(min(first, count), min(stop, count))
