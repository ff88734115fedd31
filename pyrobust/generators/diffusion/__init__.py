"""Diffusion models: DDPM (Ho et al. 2020) and EDM (Karras et al. 2022) around one network."""
