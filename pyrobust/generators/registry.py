"""The classes of generators by the name of their type."""

from pathlib import Path

import numpy as np

from pyrobust.config.generator_types import TYPES
from pyrobust.errors import UserError
from pyrobust.files import described_by
from pyrobust.generators.base import GENERATOR, MADE_BY, Generator, Samples, read_generator_facts
from pyrobust.imports import import_object, named_object
from pyrobust.own_code import running

GENERATORS: dict[str, type[Generator]] = {
    name: named_object(kind.implementation) for name, kind in TYPES.items()
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
        device: device that computes images, as torch names it, for types that support it.
        description: generator.json or fitted.json.

    Raises:
        UserError: there is none, or its type is unknown.
    """
    facts = read_generator_facts(folder, description)
    with described_by(folder / description, MADE_BY):
        kind = str(facts["settings"]["type"])
    if kind not in GENERATORS and ":" not in kind:
        raise UserError(
            f"{folder} has a generator of unknown type '{kind}'; choose one of: "
            f"{', '.join(GENERATORS)}"
        )
    own = generator_class(kind)
    with running(kind):
        return own.load(folder, description).to(device)


def samples_of(generator: Generator, ids: np.ndarray, seed: int) -> Samples:
    """Return the images with these ids, checked, since the type may be the user's own.

    Raises:
        UserError: its code fails, or returns something else.
    """
    with running(generator.spec.settings.type):
        return generator.checked(generator.sample(ids, seed), len(ids))
