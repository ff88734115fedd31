"""BigGAN (Brock et al. 2019), one of the generators of the paper's Table 1."""
