# Builds the compiled core. The mark is temporary: each run checks the core once, before its first
# stage, and the build itself skips what is up to date. `ancient` keeps finished results.
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
        sources=os.path.relpath(workflow.basedir),
    shell:
        # Without its sources, the package was installed with a core.
        "(cd {params.sources:q} && if [ -f setup.py ]; then"
        " MAX_JOBS={threads} python setup.py build_ext --inplace; fi) > {log} 2>&1"
