"""The types of generators: for each, its class, its presets and what its network costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class GeneratorWork:
    """The counted work of a generator's network; a multiply-add is two operations.

    All but the weights are for one image: of 8×8 pixels for the preset `tiny`, else of 32×32.

    Attributes:
        flops: of one pass.
        training_passes: forward passes that a step costs for each image of `batch_size`, including
            all updates of the discriminator.
        kept_bytes: most that a float32 update keeps for its backward passes at a time.
        sampled_bytes: most that a float32 pass of sampling holds at a time.
        weights: of the network that samples.
        discriminator_weights: of the discriminator, if there is one.
    """

    flops: float
    training_passes: int
    kept_bytes: float
    sampled_bytes: float
    weights: int
    discriminator_weights: int = 0


@dataclass(frozen=True)
class GeneratorType:
    """One type of generator. To add a type, write its class and add an entry to `TYPES`.

    Attributes:
        title: name in reports.
        summary: model or source, for `--help` and config/README.md.
        implementation: MODULE:NAME of the class.
        conditional: whether samples are conditioned on a class; None if a setting decides.
        path: whether `path` is required, optional (pretrained weights) or not accepted.
        presets: settings that this type has in addition to those of all types. `paper` is complete
            and defines which settings exist; every other preset lists its changes.
        optional: settings of the type that no preset sets.
        passes_per_step: network passes of one sampling step; the last step takes one.
        work: of the network of each preset; empty for types without a network.
    """

    title: str
    summary: str
    implementation: str
    conditional: bool | None
    presets: Mapping[str, Mapping[str, Any]]
    path: Literal["required", "optional", "none"] = "optional"
    optional: tuple[str, ...] = ()
    passes_per_step: int = 1
    work: Mapping[str, GeneratorWork] = field(default_factory=dict)

    @property
    def is_trained(self) -> bool:
        """Whether a network is trained step by step."""
        return bool(self.work)


# Settings of `keep_best`, which all trained types have and no preset sets, and their defaults.
MEASURED = ("keep_best", "fid_features", "fid_measures", "fid_samples")
KEEP_BEST = {"fid_measures": 25, "fid_samples": 10_000}

# Stands for MODULE:NAME, a class of the user, whose settings nothing checks.
OWN_TYPE = GeneratorType(
    title="", summary="", implementation="", conditional=None, presets={"paper": {}}
)

# The presets small and tiny of ddpm and edm, which train the same networks.
_SMALL_UNET = {
    "training_steps": 20_000,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "warmup_steps": 200,
    "dropout": 0.0,
    "averaging_decay": 0.995,
}
_TINY_UNET = {
    "training_steps": 3000,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "warmup_steps": 100,
    "dropout": 0.0,
    "averaging_decay": 0.998,
    "precision": "float32",
}

TYPES: dict[str, GeneratorType] = {
    "gaussian": GeneratorType(
        title="class-conditional Gaussian",
        summary="class-conditional Gaussian (section 3.2)",
        implementation="pyrobust.generators.gaussian:GaussianGenerator",
        conditional=True,
        path="none",
        presets={"paper": {"jitter": 1e-6}},
    ),
    "imported": GeneratorType(
        title="imported samples",
        summary="published samples",
        implementation="pyrobust.generators.imported:ImportedGenerator",
        conditional=True,
        path="required",
        presets={"paper": {}},
    ),
    "ddpm": GeneratorType(
        title="DDPM",
        summary="Ho et al. 2020",
        implementation="pyrobust.generators.diffusion.ddpm:DdpmGenerator",
        conditional=False,
        # Ho et al. 2020, section B; their machines multiplied in bfloat16.
        presets={
            "paper": {
                "training_steps": 800_000,
                "batch_size": 128,
                "learning_rate": 2e-4,
                "warmup_steps": 5000,
                "dropout": 0.1,
                "averaging_decay": 0.9999,
                "precision": "bfloat16",
                "sampler": "ancestral",
                "sampling_steps": 1000,
            },
            "small": {**_SMALL_UNET, "sampler": "dpm_solver", "sampling_steps": 20},
            "tiny": {**_TINY_UNET, "sampler": "dpm_solver", "sampling_steps": 20},
        },
        work={
            "paper": GeneratorWork(12.1e9, 3, 54.4e6, 7.39e6, 35_746_307),
            "small": GeneratorWork(496e6, 3, 7.03e6, 1.75e6, 1_113_955),
            "tiny": GeneratorWork(15.8e6, 3, 391e3, 75.5e3, 284_513),
        },
    ),
    "edm": GeneratorType(
        title="EDM",
        summary="Karras et al. 2022",
        implementation="pyrobust.generators.diffusion.edm:EdmGenerator",
        conditional=None,
        optional=("augment_probability",),
        passes_per_step=2,  # Heun's method
        # Karras et al. 2022, Table 7 for 32×32 images: 200 million images, warm-up over the first
        # 10 million, an average with a half-life of 0.5 million.
        presets={
            "paper": {
                "training_steps": 390_625,
                "batch_size": 512,
                "learning_rate": 1e-3,
                "warmup_steps": 19_531,
                "dropout": 0.13,
                "averaging_decay": 0.99929,
                "precision": "bfloat16",
                "conditional": True,
                "sampling_steps": 18,
            },
            "small": _SMALL_UNET,
            "tiny": _TINY_UNET,
        },
        work={
            "paper": GeneratorWork(12.1e9, 3, 54.4e6, 7.42e6, 35_751_427),
            "small": GeneratorWork(496e6, 3, 7.03e6, 1.79e6, 1_115_235),
            "tiny": GeneratorWork(15.8e6, 3, 391e3, 76.6e3, 285_793),
        },
    ),
    "biggan": GeneratorType(
        title="BigGAN",
        summary="Brock et al. 2019",
        implementation="pyrobust.generators.biggan.biggan:BigGanGenerator",
        conditional=True,
        presets={
            # The authors' script for CIFAR-10: 500 epochs.
            "paper": {
                "training_steps": 125_000,
                "batch_size": 50,
                "learning_rate": 2e-4,
                "averaging_decay": 0.9999,
                "precision": "float32",
                "width": 256,
                "latent_size": 128,
                "discriminator_steps": 4,
                "initialization": "normal",
            },
            "tiny": {
                "training_steps": 1500,
                "averaging_decay": 0.99,
                "learning_rate": 1e-3,
                "batch_size": 32,
                "width": 32,
                "latent_size": 32,
                "discriminator_steps": 2,
                "initialization": "orthogonal",
            },
        },
        work={
            "paper": GeneratorWork(3.39e9, 34, 13.2e6, 4.46e6, 4_304_387, 4_207_361),
            "tiny": GeneratorWork(2.46e6, 22, 95.1e3, 35.2e3, 38_081, 65_473),
        },
    ),
    "vdvae": GeneratorType(
        title="VDVAE",
        summary="Child 2021",
        implementation="pyrobust.generators.vdvae.vdvae:VdvaeGenerator",
        conditional=False,
        presets={
            # The authors' settings for CIFAR-10: about a million updates of 32 images.
            "paper": {
                "training_steps": 1_000_000,
                "batch_size": 32,
                "learning_rate": 2e-4,
                "warmup_steps": 100,
                "weight_decay": 0.01,
                "averaging_decay": 0.9999,
                "precision": "float32",
                "width": 384,
                "latent_size": 16,
                "mixtures": 10,
                "encoder_blocks": "32x11,32d2,16x6,16d2,8x6,8d2,4x3,4d4,1x3",
                "decoder_blocks": "1x1,4m1,4x2,8m4,8x5,16m8,16x10,32m16,32x21",
            },
            "tiny": {
                "training_steps": 3000,
                "batch_size": 64,
                "learning_rate": 3e-3,
                "averaging_decay": 0.995,
                "width": 64,
                "latent_size": 8,
                "mixtures": 3,
                "encoder_blocks": "8x2,8d2,4x1,4d4,1x1",
                "decoder_blocks": "1x1,4m1,4x1,8m4,8x3",
            },
        },
        work={
            "paper": GeneratorWork(25.2e9, 6, 592e6, 10.2e6, 39_145_700),
            "tiny": GeneratorWork(8.20e6, 6, 1.256e6, 102e3, 180_281),
        },
    ),
    "stylegan2": GeneratorType(
        title="StyleGAN2",
        summary="StyleGAN2-ADA, Karras et al. 2020",
        implementation="pyrobust.generators.stylegan2.stylegan2:StyleGan2Generator",
        conditional=True,
        presets={
            # Karras et al. (2020a), CIFAR-10: 100 million images, an average of half-life 500,000.
            "paper": {
                "training_steps": 1_562_500,
                "batch_size": 64,
                "learning_rate": 2.5e-3,
                "averaging_decay": 0.99991,
                "precision": "float32",
                "width": 512,
                "latent_size": 512,
                "r1_gamma": 0.01,
                "augment_target": 0.6,
                "augment_images": 500_000,
            },
            "tiny": {
                "training_steps": 2000,
                "batch_size": 32,
                "learning_rate": 1e-2,
                "averaging_decay": 0.995,
                "width": 64,
                "latent_size": 32,
                # No augmentations: they are for longer trainings, and rotated digits change class.
                "augment_target": 1.0,
            },
        },
        work={
            "paper": GeneratorWork(8.04e9, 14, 65.6e6, 11.0e6, 20_215_315, 23_089_664),
            "tiny": GeneratorWork(7.22e6, 14, 403e3, 96.1e3, 125_989, 215_232),
        },
    ),
}
