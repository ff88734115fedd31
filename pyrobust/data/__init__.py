"""Images on disk: data sets in their published layouts, sample stores, selection."""
