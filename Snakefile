# The workflow is workflow/Snakefile: `snakemake --cores all results/digits_linf.json` starts it here.
include: "workflow/Snakefile"
