"""Rates of work on known machines, each with the date and the way that it was measured."""

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrobust.errors import UserError

RATES = Path(__file__).with_name("rates.toml")


@dataclass(frozen=True)
class Rate:
    """The speed of one kind of work on one machine."""

    value: float
    unit: str
    source: str
    measured: datetime.date | None = None

    @property
    def basis(self) -> str:
        """How much the rate is worth."""
        return "not measured" if self.measured is None else f"measured {self.measured}"


@dataclass(frozen=True)
class Machine:
    """A device and what it was seen to do."""

    name: str
    device: str
    rates: Mapping[str, Rate]
    memory_gb: float | None = None
    """Of the GPU; None if it has none, or it is not known."""

    def rate(self, work: str) -> Rate:
        """Return the rate of one kind of work.

        Raises:
            UserError: the file of rates has none.
        """
        if work not in self.rates:
            raise UserError(
                f"machine '{self.name}' has no rate of {work}, expected one of "
                f"{', '.join(self.rates)}: add it to the file of rates"
            )
        return self.rates[work]

    def kind(self, work: str, precision: str) -> str:
        """Return the name of `work` in a precision: where it has no rate, that of float32."""
        in_bfloat16 = f"{work}_bfloat16"
        return in_bfloat16 if precision == "bfloat16" and in_bfloat16 in self.rates else work


def read_machines(path: Path = RATES) -> dict[str, Machine]:
    """Return the machines of a file of rates by name; a machine has the rates of its host, too.

    Raises:
        UserError: the file is missing or is none.
    """
    try:
        contents = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _machine(name, contents) for name in contents}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a valid rates file ({error}); see {RATES} for the format"
        ) from error


def _machine(name: str, contents: Mapping[str, Any]) -> Machine:
    entry = contents[name]
    host = _machine(entry["host"], contents).rates if "host" in entry else {}
    own = {work: Rate(**rate) for work, rate in entry["rates"].items()}
    return Machine(name, entry["device"], {**host, **own}, entry.get("memory_gb"))
