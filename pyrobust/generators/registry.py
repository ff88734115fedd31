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

GENERATORS: dict[str, type[Generator]] = {
    "gaussian": GaussianGenerator,
    "imported": ImportedGenerator,
    "ddpm": DdpmGenerator,
    "edm": EdmGenerator,
    "biggan": BigGanGenerator,
    "vdvae": VdvaeGenerator,
    "stylegan2": StyleGan2Generator,
}


def load_generator(folder: Path, device: str = "cpu", description: str = GENERATOR) -> Generator:
    """Open the generator that `pyrobust fit-generator` wrote to `folder`.

    Args:
        device: where images are computed, as torch names it, by types that can.
        description: generator.json or fitted.json.

    Raises:
        UserError: there is none, or it is of a type that this version does not know.
    """
    kind = read_generator_facts(folder, description)["settings"]["type"]
    if kind not in GENERATORS:
        raise UserError(
            f"{folder} has a generator of unknown type '{kind}'; choose one of: "
            f"{', '.join(GENERATORS)}"
        )
    return GENERATORS[kind].load(folder, description).to(device)
