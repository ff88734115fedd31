"""Published models: where they are, what they are, how robust, and their download.

Robust accuracies are AutoAttack's on the 10,000 test images (RobustBench) or AA+MT's, as the
publishers state them. Corrected against the publishers' own tables:

- `cifar10_linf_wrn28-10_ddpm_100m` is a WRN-28-10; the authors' README calls it WRN-70-16.
- The two l2 rows of the authors' `iclrw2021doing/README.md` state the radius 8/255 and link linf
  files; the l2 files are `cifar10_l2_*_ddpm_v2` and their radius is 128/255.
- `cifar10_linf_wrn70-16_cutmix_ddpm_100m` is the paper's best model, although the paper does not
  mention CutMix.

The publishers state no hashes. `sha256` is None where none was ever checked here; a download then
records the hash that it saw, and later downloads must agree with it.
"""

from dataclasses import dataclass
from pathlib import Path

from pyrobust.downloading import fetch
from pyrobust.errors import UserError
from pyrobust.files import sha256_of, write_text
from pyrobust.models.spec import ModelSpec, Normalization

_DEEPMIND = "https://storage.googleapis.com/dm-adversarial-robustness/"
_EDM = "https://huggingface.co/wzekai99/DM-Improves-AT/resolve/main/checkpoint/"

# What the published models normalise by.
NORMALIZATION: dict[str, Normalization] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "svhn": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "tinyimagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
}


@dataclass(frozen=True)
class PublishedModel:
    """A published checkpoint.

    Args:
        clean_accuracy, robust_accuracy: fractions, as its publishers state them.
        sha256: of the file; None where no hash is known.
    """

    name: str
    url: str
    dataset: str
    norm: str
    epsilon: str
    architecture: str
    clean_accuracy: float
    robust_accuracy: float
    sha256: str | None = None

    @property
    def spec(self) -> ModelSpec:
        """The specification that fits the file; all of them use SiLU on 32×32 images."""
        mean, std = NORMALIZATION[self.dataset]
        num_classes = 100 if self.dataset == "cifar100" else 10
        return ModelSpec(self.architecture, "silu", num_classes, (32, 32, 3), mean, std)


def _deepmind(name: str, architecture: str, clean: float, robust: float) -> PublishedModel:
    dataset, norm = name.split("_")[:2]
    epsilon = "8/255" if norm == "linf" else "128/255"
    url = f"{_DEEPMIND}{name}.pt"
    return PublishedModel(name, url, dataset, norm, epsilon, architecture, clean, robust)


def _edm(file: str, architecture: str, clean: float, robust: float) -> PublishedModel:
    dataset, norm = file.split("_")[:2]
    epsilon = "8/255" if norm == "linf" else "128/255"
    url = f"{_EDM}{file}.pt"
    return PublishedModel(f"{file}_edm", url, dataset, norm, epsilon, architecture, clean, robust)


PUBLISHED: dict[str, PublishedModel] = {
    model.name: model
    for model in (
        # Gowal et al. 2021: 1M DDPM images, then 100M.
        _deepmind("cifar10_linf_wrn28-10_ddpm_v2", "wrn-28-10", 0.8597, 0.6073),
        _deepmind("cifar10_linf_wrn70-16_ddpm_v2", "wrn-70-16", 0.8694, 0.6362),
        _deepmind("cifar10_l2_wrn28-10_ddpm_v2", "wrn-28-10", 0.9024, 0.7744),
        _deepmind("cifar10_l2_wrn70-16_ddpm_v2", "wrn-70-16", 0.9083, 0.7839),
        _deepmind("cifar100_linf_wrn28-10_ddpm", "wrn-28-10", 0.5918, 0.3081),
        _deepmind("cifar100_linf_wrn70-16_ddpm", "wrn-70-16", 0.6046, 0.3349),
        _deepmind("cifar10_linf_resnet18_ddpm_100m", "resnet-18", 0.8735, 0.5863),
        _deepmind("cifar10_linf_wrn28-10_ddpm_100m", "wrn-28-10", 0.8750, 0.6344),
        _deepmind("cifar10_linf_wrn70-16_cutmix_ddpm_100m", "wrn-70-16", 0.8874, 0.6611),
        # Wang et al. 2023: EDM images; accuracies as RobustBench lists them.
        _edm("cifar10_linf_wrn28-10", "wrn-28-10", 0.9244, 0.6731),
        _edm("cifar10_linf_wrn70-16", "wrn-70-16", 0.9325, 0.7069),
        _edm("cifar10_l2_wrn28-10", "wrn-28-10", 0.9516, 0.8368),
        _edm("cifar10_l2_wrn70-16", "wrn-70-16", 0.9554, 0.8497),
        _edm("cifar100_linf_wrn28-10", "wrn-28-10", 0.7258, 0.3877),
        _edm("cifar100_linf_wrn70-16", "wrn-70-16", 0.7522, 0.4266),
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

    The hash is compared with the registry's. If the registry has none, the first download
    writes it to `<name>.pt.sha256`, and every later use is verified against that file.

    Raises:
        UserError: the address cannot be reached, or the hash is another one.
    """
    path = folder / f"{model.name}.pt"
    pinned = path.with_name(f"{path.name}.sha256")
    if not path.is_file():
        fetch(model.url, path)
    seen = sha256_of(path)
    expected = model.sha256 or (pinned.read_text().strip() if pinned.is_file() else None)
    if expected is None:
        write_text(pinned, f"{seen}\n")
    elif seen != expected:
        raise UserError(
            f"{path} has SHA-256 {seen}, but {expected} is expected; delete it and run the "
            "command again"
        )
    return path
