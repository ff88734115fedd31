# From data to report: snakemake --cores all results/digits_linf.json
#
# Where files go:
#   resources/raw/<dataset>/        raw files that the user brings
#   resources/datasets/<dataset>/   the same as sample stores: train, validation, test
#   results/labellers, generators, samples, analysis, train, evaluate, landscape: one folder a stage
#   results/<experiment>.json       the record; .cost.json and .html beside it
#   results/paper/<target>.csv      a table or figure of the paper; .png and .svg beside it
#   logs/<rule>/<wildcards>.log     what each job printed
#
# pyrobust/workflow/ resolves experiments to the inputs and flags that the rules ask for.
from snakemake.utils import min_version

min_version("9.19")


configfile: "config/config.yaml"
configfile: "config/targets.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/run.smk"
include: "workflow/rules/build.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/label.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/paper.smk"


localrules:
    all,


# Without a target, the experiment that needs no download.
rule all:
    input:
        "<results>/digits_linf.json",
