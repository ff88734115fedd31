"""Settings of every stage: frozen, typed, parsed and checked once.

The models here are the one source of the command-line options (`pyrobust.cli.options`) and of
the JSON Schema that Snakemake checks `config/config.yaml` against (`pyrobust.config.schema`).
"""

from pyrobust.config.base import Settings, parse_settings
from pyrobust.config.fields import parse_epsilon

__all__ = ["Settings", "parse_epsilon", "parse_settings"]
