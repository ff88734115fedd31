# The record of an experiment, its cost and its page; and a page that compares several.
rule report_experiment:
    input:
        unpack(report_inputs),
    output:
        record=report(
            "<results>/{experiment}.json",
            caption="../report/record.rst",
            category="Experiments",
            labels={"experiment": "{experiment}", "file": "record"},
        ),
        cost="<results>/{experiment}.cost.json",
        page=report(
            "<results>/{experiment}.html",
            caption="../report/page.rst",
            category="Experiments",
            labels={"experiment": "{experiment}", "file": "page"},
        ),
    log:
        "<logs>/report_experiment/{experiment}.log",
    localrule: True
    conda:
        "../../envs/pyrobust.yaml"
    params:
        experiment=experiment_as_json,
        inputs=report_flags,
        baseline=baseline_flags,
        costs=cost_flags,
    shell:
        "python -m pyrobust report {wildcards.experiment} --experiment {params.experiment:q}"
        " {params.inputs} {params.baseline} {params.costs} --output {output.record:q} --cost {output.cost:q} --page {output.page:q}"
        " > {log} 2>&1"


# One page about the experiments that `compared` names.
rule compare_experiments:
    input:
        collect("<results>/{experiment}.json", experiment=config["compared"]),
    output:
        report(
            "<results>/report.html",
            caption="../report/overview.rst",
            category="Experiments",
            labels={"experiment": "all", "file": "comparison"},
        ),
    log:
        "<logs>/compare_experiments.log",
    localrule: True
    conda:
        "../../envs/pyrobust.yaml"
    shell:
        "python -m pyrobust compare {input:q} --output {output:q} > {log} 2>&1"
