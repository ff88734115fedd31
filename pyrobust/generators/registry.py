"""Generators by the name of their type."""

from pathlib import Path

from pyrobust.errors import UserError
from pyrobust.generators.base import GENERATOR, Generator, read_generator_facts
from pyrobust.generators.biggan.biggan import BigGanGenerator
from pyrobust.generators.diffusion.ddpm import DdpmGenerator
from pyrobust.generators.diffusion.edm import EdmGenerator
from pyrobust.generators.gaussian import GaussianGenerator
from pyrobust.generators.imported import ImportedGenerator
from pyrobust.generators.stylegan2.stylegan2 import StyleGan2Generator
from pyrobust.generators.vdvae.vdvae import VdvaeGenerator
from pyrobust.imports import import_object

GENERATORS: dict[str, type[Generator]] = {
    "gaussian": GaussianGenerator,
    "imported": ImportedGenerator,
    "ddpm": DdpmGenerator,
    "edm": EdmGenerator,
    "biggan": BigGanGenerator,
    "vdvae": VdvaeGenerator,
    "stylegan2": StyleGan2Generator,
}


def generator_class(kind: str) -> type[Generator]:
    """Return the class of a type: a key of `GENERATORS`, or MODULE:NAME.

    Raises:
        UserError: MODULE:NAME is not a subclass of `Generator` with all its methods.
    """
    if kind in GENERATORS:
        return GENERATORS[kind]
    found = import_object(kind, "generator", "my_generators:Blend")
    if not (isinstance(found, type) and issubclass(found, Generator)):
        raise UserError(
            f"generator {kind} is a {type(found).__name__}; expected a subclass of "
            "pyrobust.generators.base.Generator"
        )
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise UserError(f"generator {kind} does not define {', '.join(missing)}; add it")
    return found


def load_generator(folder: Path, device: str = "cpu", description: str = GENERATOR) -> Generator:
    """Open the generator that `pyrobust fit-generator` wrote to `folder`.

    Args:
        device: where images are computed, as torch names it, by types that can.
        description: generator.json or fitted.json.

    Raises:
        UserError: there is none, or it is of a type that this version does not know.
    """
    kind = read_generator_facts(folder, description)["settings"]["type"]
    if kind not in GENERATORS and ":" not in kind:
        raise UserError(
            f"{folder} has a generator of unknown type '{kind}'; choose one of: "
            f"{', '.join(GENERATORS)}"
        )
    return generator_class(kind).load(folder, description).to(device)
