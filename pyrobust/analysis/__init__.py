"""How generated images relate to the original ones: features, neighbours, FID."""
