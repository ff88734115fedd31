# Builds the compiled core; other rules wait for its mark, which stays. A core that became older than
# its sources is built when a run starts (run.smk): as a job, it would rerun every stage behind it.
# Where Snakemake reads the rules from a Git host, the package is installed and has no sources.
RULES = workflow.current_basedir
SOURCES = (
    Path(str(RULES)).parents[1] if RULES.is_local else Path(core_build.__file__).parent
)


rule build_core:
    output:
        touch("<resources>/core.built"),
    log:
        "<logs>/build_core.log",
    priority: PRIORITIES["build_core"]
    localrule: True
    conda:
        "../../envs/pyrobust.yaml"
    threads: 4
    params:
        sources=os.path.relpath(SOURCES),
    shell:
        "MAX_JOBS={threads} python -m pyrobust.workflow.core_build {params.sources:q} > {log:q} 2>&1"
