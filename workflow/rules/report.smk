# The record of an experiment, its cost and its page; and a page that compares several.
rule describe_experiment:
    output:
        "<results>/{experiment}.inputs.json",
    log:
        "<logs>/describe_experiment/{experiment}.log",
    localrule: True
    params:
        described=lambda wildcards: reports.describe(wildcards, expand_paths),
    run:
        write_json(Path(output[0]), params.described)


rule report_experiment:
    input:
        unpack(reports.inputs),
        described="<results>/{experiment}.inputs.json",
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
    shell:
        "python -m pyrobust --log {log:q} report {input.described:q} --output {output.record:q}"
        " --cost {output.cost:q} --page {output.page:q}"


# One page about the experiments that `compared` names.
rule compare_experiments:
    input:
        collect("<results>/{experiment}.json", experiment=resolve.config.compared),
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
        "python -m pyrobust --log {log:q} compare {input:q} --output {output:q}"


# A misspelt name.
rule refuse_unknown_experiment:
    input:
        resolve.refuse_unknown("experiments"),
    output:
        "<results>/{unknown}.json",
        "<results>/{unknown}.html",
    log:
        "<logs>/refuse_unknown_experiment/{unknown}.log",
    wildcard_constraints:
        unknown=other_than([*resolve.config.experiments, "report"]),
