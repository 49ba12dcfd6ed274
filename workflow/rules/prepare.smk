rule prepare:
    input:
        lambda wildcards: experiment.source_files(wildcards.volume),
    output:
        layout.done("prepare", "{volume}"),
    log:
        layout.log("prepare", "{volume}"),
    benchmark:
        layout.benchmark("prepare", "{volume}")
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        experiment=arguments,
        volume=lambda wildcards: settings(experiment.volumes[wildcards.volume], exclude={"role"}),
        prepare=settings(experiment.prepare),
        version=VERSIONS["prepare"],
    shell:
        "sepvox prepare {params.experiment} --restart > {log:q} 2>&1"
