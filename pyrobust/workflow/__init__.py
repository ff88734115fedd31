"""What the rules of `workflow/` ask: inputs, flags, resources and the state around a run.

Nothing here imports snakemake, so pytest reaches all of it.
"""
