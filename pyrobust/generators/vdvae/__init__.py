"""The very deep VAE (Child 2021), one of the generators of the paper's Table 1."""
