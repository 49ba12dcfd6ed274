if NEURONS:

    rule fragments_create:
        input:
            layout.done("predict", "{model}", "{volume}", "finish"),
        output:
            layout.done("fragments", "{model}", "{volume}", "create"),
        log:
            layout.log("fragments", "{model}", "{volume}", "create"),
        benchmark:
            layout.benchmark("fragments", "{model}", "{volume}", "create")
        resources:
            mem_mb=4000,
            runtime="30m",
        params:
            experiment=arguments,
            fragments=settings(experiment.segment.fragments),
            block=experiment.segment.block,
            version=VERSIONS["fragments"],
        shell:
            "sepvox fragments {params.experiment} --part create --restart > {log:q} 2>&1"

    rule fragments_slice:
        input:
            layout.done("fragments", "{model}", "{volume}", "create"),
        output:
            layout.done("fragments", "{model}", "{volume}", "{slice}-{of}"),
        log:
            layout.log("fragments", "{model}", "{volume}", "{slice}-{of}"),
        benchmark:
            layout.benchmark("fragments", "{model}", "{volume}", "{slice}-{of}")
        threads: experiment.segment.processes
        resources:
            mem_mb=16000,
            runtime="8h",
        params:
            experiment=arguments,
        shell:
            "sepvox fragments {params.experiment} --part {wildcards.slice}/{wildcards.of} > {log:q} 2>&1"

    rule fragments_finish:
        input:
            slices(experiment.segment.slices, "fragments", "{model}", "{volume}"),
        output:
            layout.done("fragments", "{model}", "{volume}", "finish"),
        log:
            layout.log("fragments", "{model}", "{volume}", "finish"),
        benchmark:
            layout.benchmark("fragments", "{model}", "{volume}", "finish")
        resources:
            mem_mb=4000,
            runtime="30m",
        params:
            experiment=arguments,
        shell:
            "sepvox fragments {params.experiment} --part finish > {log:q} 2>&1"

    rule region_graph:
        input:
            layout.done("predict", "{model}", "{volume}", "finish"),
            layout.done("fragments", "{model}", "{volume}", "finish"),
        output:
            layout.done("region-graph", "{model}", "{volume}", "{slice}-{of}"),
        log:
            layout.log("region-graph", "{model}", "{volume}", "{slice}-{of}"),
        benchmark:
            layout.benchmark("region-graph", "{model}", "{volume}", "{slice}-{of}")
        threads: experiment.segment.processes
        resources:
            mem_mb=16000,
            runtime="8h",
        params:
            experiment=arguments,
            agglomerate=settings(experiment.segment.agglomerate, exclude={"thresholds"}),
            version=VERSIONS["region-graph"],
        shell:
            "sepvox region-graph {params.experiment} --part {wildcards.slice}/{wildcards.of} > {log:q} 2>&1"

    rule agglomerate:
        input:
            slices(experiment.segment.slices, "region-graph", "{model}", "{volume}"),
            lambda wildcards: threshold_of_weights(wildcards.model),
        output:
            layout.lookup_tables("{model}", "{volume}"),
        log:
            layout.log("agglomerate", "{model}", "{volume}"),
        benchmark:
            layout.benchmark("agglomerate", "{model}", "{volume}")
        resources:
            mem_mb=32000,
            runtime="4h",
        params:
            experiment=arguments,
            thresholds=experiment.segment.agglomerate.thresholds,
            minimum_size=experiment.segment.minimum_size,
            threshold=experiment.segment.threshold,
            version=VERSIONS["agglomerate"],
        shell:
            "sepvox agglomerate {params.experiment} > {log:q} 2>&1"

    rule relabel_create:
        input:
            layout.done("fragments", "{model}", "{volume}", "finish"),
            layout.lookup_tables("{model}", "{volume}"),
            layout.threshold("{model}"),
        output:
            layout.done("relabel", "{model}", "{volume}", "create"),
        log:
            layout.log("relabel", "{model}", "{volume}", "create"),
        benchmark:
            layout.benchmark("relabel", "{model}", "{volume}", "create")
        resources:
            mem_mb=4000,
            runtime="30m",
        params:
            experiment=arguments,
            block=experiment.segment.block,
            version=VERSIONS["relabel"],
        shell:
            "sepvox relabel {params.experiment} --part create --restart > {log:q} 2>&1"

    rule relabel_slice:
        input:
            layout.done("relabel", "{model}", "{volume}", "create"),
        output:
            layout.done("relabel", "{model}", "{volume}", "{slice}-{of}"),
        log:
            layout.log("relabel", "{model}", "{volume}", "{slice}-{of}"),
        benchmark:
            layout.benchmark("relabel", "{model}", "{volume}", "{slice}-{of}")
        threads: experiment.segment.processes
        resources:
            mem_mb=16000,
            runtime="8h",
        params:
            experiment=arguments,
        shell:
            "sepvox relabel {params.experiment} --part {wildcards.slice}/{wildcards.of} > {log:q} 2>&1"

    rule relabel_finish:
        input:
            slices(experiment.segment.slices, "relabel", "{model}", "{volume}"),
        output:
            layout.done("relabel", "{model}", "{volume}", "finish"),
        log:
            layout.log("relabel", "{model}", "{volume}", "finish"),
        benchmark:
            layout.benchmark("relabel", "{model}", "{volume}", "finish")
        threads: experiment.segment.processes
        resources:
            mem_mb=8000,
            runtime="2h",
        params:
            experiment=arguments,
        shell:
            "sepvox relabel {params.experiment} --part finish > {log:q} 2>&1"

else:

    rule classify:
        input:
            slices(experiment.predict.slices, "predict", "{model}"),
            layout.clean_up("{model}"),
        output:
            layout.done("classify", "{model}", "{slice}-{of}"),
        log:
            layout.log("classify", "{model}", "{slice}-{of}"),
        benchmark:
            layout.benchmark("classify", "{model}", "{slice}-{of}")
        threads: experiment.segment.processes
        resources:
            mem_mb=8000,
            runtime="4h",
        params:
            experiment=arguments,
            version=VERSIONS["classify"],
        shell:
            "sepvox classify {params.experiment} --part {wildcards.slice}/{wildcards.of} --restart > {log:q} 2>&1"
