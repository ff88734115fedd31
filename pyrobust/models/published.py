"""Published models: where they are, what they are, and their download.

docs/evaluation.md lists their accuracies. A name starts with data set, norm and network. In the
publishers' own tables, some of these are wrong:

- `cifar10_linf_wrn28-10_ddpm_100m` is a WRN-28-10; the authors' README calls it WRN-70-16.
- The two l2 rows of the authors' `iclrw2021doing/README.md` state the radius 8/255 and link linf
  files; the l2 files are `cifar10_l2_*_ddpm_v2` and their radius is 128/255.
- `cifar10_linf_wrn70-16_cutmix_ddpm_100m` is the paper's best model, although the paper does not
  mention CutMix.

The publishers state no hashes, so the first download records the hash that it saw, and later ones
must agree with it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pyrobust.downloading import fetch
from pyrobust.errors import UserError
from pyrobust.files import sha256_of, write_text
from pyrobust.models.spec import ModelSpec, Normalization

# What the published models normalise by.
NORMALIZATION: dict[str, Normalization] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "svhn": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "tinyimagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
}


@dataclass(frozen=True)
class PublishedModel:
    """A published checkpoint."""

    name: str
    url: str

    @property
    def spec(self) -> ModelSpec:
        """The specification that fits the file; all of them use SiLU on 32×32 images."""
        dataset, _, network = self.name.split("_")[:3]
        architecture = re.sub("wrn|resnet", r"\g<0>-", network)
        num_classes = 100 if dataset == "cifar100" else 10
        return ModelSpec(architecture, "silu", num_classes, (32, 32, 3), *NORMALIZATION[dataset])


# Gowal et al. 2021: 1M DDPM images, then 100M.
_DEEPMIND = "https://storage.googleapis.com/dm-adversarial-robustness/"
_DEEPMIND_FILES = (
    "cifar10_linf_wrn28-10_ddpm_v2",
    "cifar10_linf_wrn70-16_ddpm_v2",
    "cifar10_l2_wrn28-10_ddpm_v2",
    "cifar10_l2_wrn70-16_ddpm_v2",
    "cifar100_linf_wrn28-10_ddpm",
    "cifar100_linf_wrn70-16_ddpm",
    "cifar10_linf_resnet18_ddpm_100m",
    "cifar10_linf_wrn28-10_ddpm_100m",
    "cifar10_linf_wrn70-16_cutmix_ddpm_100m",
)

# Wang et al. 2023: EDM images. Only their names here say so.
_EDM = "https://huggingface.co/wzekai99/DM-Improves-AT/resolve/main/checkpoint/"
_EDM_FILES = (
    "cifar10_linf_wrn28-10",
    "cifar10_linf_wrn70-16",
    "cifar10_l2_wrn28-10",
    "cifar10_l2_wrn70-16",
    "cifar100_linf_wrn28-10",
    "cifar100_linf_wrn70-16",
)

PUBLISHED: dict[str, PublishedModel] = {
    model.name: model
    for model in (
        *(PublishedModel(file, f"{_DEEPMIND}{file}.pt") for file in _DEEPMIND_FILES),
        *(PublishedModel(f"{file}_edm", f"{_EDM}{file}.pt") for file in _EDM_FILES),
    )
}


def published_model(name: str) -> PublishedModel:
    """Return the published model of this name.

    Raises:
        UserError: there is none; lists those there are.
    """
    try:
        return PUBLISHED[name]
    except KeyError as error:
        raise UserError(
            f"unknown published model '{name}'; choose one of: {', '.join(PUBLISHED)}"
        ) from error


def download(model: PublishedModel, folder: Path) -> Path:
    """Return the checkpoint of `model` in `folder`, downloaded if missing.

    The first download writes its hash to `<name>.pt.sha256`, and every later use is verified
    against that file.

    Raises:
        UserError: the address cannot be reached, or the hash is another one.
    """
    path = folder / f"{model.name}.pt"
    pinned = path.with_name(f"{path.name}.sha256")
    if not path.is_file():
        fetch(model.url, path)
    seen = sha256_of(path)
    if not pinned.is_file():
        write_text(pinned, f"{seen}\n")
    elif seen != (expected := pinned.read_text().strip()):
        raise UserError(
            f"{path} has SHA-256 {seen}, but {expected} is expected; delete it and run the "
            "command again"
        )
    return path
