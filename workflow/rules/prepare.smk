if NEURONS:

    rule prepare:
        input:
            lambda wildcards: experiment.source_files(wildcards.volume),
        output:
            layout.done("prepare", "{volume}"),
        log:
            layout.log("prepare", "{volume}"),
        benchmark:
            layout.benchmark("prepare", "{volume}")
        threads: experiment.prepare.processes
        resources:
            mem_mb=2000 + 2000 * experiment.prepare.processes,
            runtime="2h",
        params:
            experiment=arguments,
            volume=lambda wildcards: settings(experiment.volumes[wildcards.volume], exclude={"role"}),
            prepare=settings(experiment.prepare, exclude={"processes"}),
            stores=experiment.stores,
            version=VERSIONS["prepare"],
        shell:
            "sepvox prepare {params.experiment} --restart > {log:q} 2>&1"

else:

    rule prepare_subjects:
        input:
            lambda wildcards: subject_files(wildcards.slice, wildcards.of),
        output:
            layout.done("prepare", "{slice}-{of}"),
        log:
            layout.log("prepare", "{slice}-{of}"),
        benchmark:
            layout.benchmark("prepare", "{slice}-{of}")
        threads: experiment.prepare.processes
        resources:
            mem_mb=16000,
            runtime="4h",
        params:
            experiment=arguments,
            subjects=lambda wildcards: described(wildcards.slice, wildcards.of),
            phantom=settings(experiment.subjects).get("phantom"),
            classes=experiment.classes,
            prepare=settings(experiment.prepare, exclude={"slices", "processes"}),
            stores=experiment.stores,
            version=VERSIONS["prepare"],
        shell:
            "sepvox prepare {params.experiment} --part {wildcards.slice}/{wildcards.of} --restart 2>&1 | tee {log:q}"
