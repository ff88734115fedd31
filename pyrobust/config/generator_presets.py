"""The presets of each type of generator."""

from typing import Any

# Type → preset → settings that this type has in addition to those of all types. `paper` is complete
# and defines which settings exist; every other preset lists its changes.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "gaussian": {"paper": {"jitter": 1e-6}},
    "imported": {"paper": {}},
    # Ho et al. 2020, section B; their machines multiplied in bfloat16.
    "ddpm": {
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
        "small": {
            "training_steps": 20_000,
            "batch_size": 64,
            "learning_rate": 1e-3,
            "warmup_steps": 200,
            "dropout": 0.0,
            "averaging_decay": 0.995,
            "sampler": "dpm_solver",
            "sampling_steps": 20,
        },
        "tiny": {
            "training_steps": 3000,
            "batch_size": 64,
            "learning_rate": 2e-3,
            "warmup_steps": 100,
            "dropout": 0.0,
            "averaging_decay": 0.998,
            "precision": "float32",
            "sampler": "dpm_solver",
            "sampling_steps": 20,
        },
    },
    # Karras et al. 2022, Table 7 for 32×32 images: 200 million images, a rate that rises over the
    # first 10 million, an average that halves in 0.5 million.
    "edm": {
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
        "tiny": {
            "training_steps": 3000,
            "batch_size": 64,
            "learning_rate": 2e-3,
            "warmup_steps": 100,
            "dropout": 0.0,
            "averaging_decay": 0.998,
            "precision": "float32",
        },
    },
    "biggan": {
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
    "vdvae": {
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
    "stylegan2": {
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
}

# Settings that no preset turns on: for all trained types, and for single types.
MEASURED = ("keep_best", "fid_features", "fid_measures", "fid_samples")
OPTIONAL: dict[str, tuple[str, ...]] = {"edm": ("augment_probability",)}

# What `keep_best` brings along.
KEEP_BEST = {"fid_measures": 25, "fid_samples": 10_000}
