# Builds the compiled core where its sources changed. The mark is temporary: each run checks once,
# before its first stage. `ancient` keeps finished results.
SOURCES = Path(str(workflow.current_basedir)).parents[1]


rule build_core:
    output:
        temp(touch("<resources>/core.built")),
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
        "MAX_JOBS={threads} python -m pyrobust.workflow.core_build {params.sources:q} > {log} 2>&1"
