"""Settings of every stage: frozen, typed, parsed and checked once.

The models here are the one source of the command-line options (`pyrobust.cli.options`), of the
checks of `config/config.yaml` (`parse_config`) and of its manual (`pyrobust.config.manual`).
"""

from pyrobust.config.base import Settings, parse_settings
from pyrobust.config.radius import parse_epsilon

__all__ = ["Settings", "parse_epsilon", "parse_settings"]
