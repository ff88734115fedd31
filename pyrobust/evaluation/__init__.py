"""Clean and robust accuracy by cascades of attacks, image by image."""
