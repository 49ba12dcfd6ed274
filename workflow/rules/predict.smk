if NEURONS:

    rule predict_create:
        input:
            weights,
            layout.done("prepare", "{volume}"),
        output:
            layout.done("predict", "{model}", "{volume}", "create"),
        log:
            layout.log("predict", "{model}", "{volume}", "create"),
        benchmark:
            layout.benchmark("predict", "{model}", "{volume}", "create")
        resources:
            mem_mb=4000,
            runtime="30m",
        params:
            experiment=arguments,
            predict=settings(experiment.predict, exclude=experiment.predict.free),
            version=VERSIONS["predict"],
        shell:
            "sepvox predict {params.experiment} --part create --restart > {log:q} 2>&1"

    rule predict_slice:
        input:
            weights,
            layout.done("predict", "{model}", "{volume}", "create"),
        output:
            layout.done("predict", "{model}", "{volume}", "{slice}-{of}"),
        log:
            layout.log("predict", "{model}", "{volume}", "{slice}-{of}"),
        benchmark:
            layout.benchmark("predict", "{model}", "{volume}", "{slice}-{of}")
        threads: CORES
        resources:
            mem_mb=16000,
            runtime="8h",
        params:
            experiment=arguments,
        shell:
            "sepvox predict {params.experiment} --part {wildcards.slice}/{wildcards.of} 2>&1 | tee {log:q}"

    rule predict_finish:
        input:
            slices(experiment.predict.slices, "predict", "{model}", "{volume}"),
        output:
            layout.done("predict", "{model}", "{volume}", "finish"),
        log:
            layout.log("predict", "{model}", "{volume}", "finish"),
        benchmark:
            layout.benchmark("predict", "{model}", "{volume}", "finish")
        resources:
            mem_mb=4000,
            runtime="30m",
        params:
            experiment=arguments,
        shell:
            "sepvox predict {params.experiment} --part finish > {log:q} 2>&1"

else:

    rule predict_subjects:
        input:
            weights,
            prepared(),
        output:
            layout.done("predict", "{model}", "{slice}-{of}"),
        log:
            layout.log("predict", "{model}", "{slice}-{of}"),
        benchmark:
            layout.benchmark("predict", "{model}", "{slice}-{of}")
        threads: CORES
        resources:
            mem_mb=16000,
            runtime="8h",
        params:
            experiment=arguments,
            subjects=lambda wildcards: experiment.predicted(wildcards.model),
            predict=settings(experiment.predict, exclude=experiment.predict.free),
            version=VERSIONS["predict"],
        shell:
            "sepvox predict {params.experiment} --part {wildcards.slice}/{wildcards.of} --restart 2>&1 | tee {log:q}"
