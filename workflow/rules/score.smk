if NEURONS:

    rule sweep:
        input:
            layout.done("prepare", "{volume}"),
            layout.done("fragments", "{model}", "{volume}", "finish"),
            layout.lookup_tables("{model}", "{volume}"),
        output:
            layout.sweep("{model}", "{volume}"),
        log:
            layout.log("sweep", "{model}", "{volume}"),
        benchmark:
            layout.benchmark("sweep", "{model}", "{volume}")
        threads: experiment.score.processes
        resources:
            mem_mb=16000,
            runtime="2h",
        params:
            experiment=arguments,
            score=settings(experiment.score, exclude={"processes"}),
            role=lambda wildcards: experiment.volumes[wildcards.volume].role,
            version=VERSIONS["score"],
        shell:
            "sepvox score {params.experiment} --sweep > {log:q} 2>&1"

    rule choose:
        input:
            lambda wildcards: threshold_sources(wildcards.model),
        output:
            layout.threshold("{model}"),
        log:
            layout.log("choose", "{model}"),
        benchmark:
            layout.benchmark("choose", "{model}")
        resources:
            mem_mb=1000,
            runtime="10m",
        params:
            experiment=arguments,
            threshold=experiment.segment.threshold,
            scoring=experiment.segment.agglomerate.scoring,
            version=VERSIONS["choose"],
        shell:
            "sepvox choose {params.experiment} > {log:q} 2>&1"

    rule score:
        input:
            layout.sweep("{model}", "{volume}"),
            layout.lookup_tables("{model}", "{volume}"),
            layout.threshold("{model}"),
        output:
            layout.scores("{model}", "{volume}"),
        log:
            layout.log("score", "{model}", "{volume}"),
        benchmark:
            layout.benchmark("score", "{model}", "{volume}")
        resources:
            mem_mb=4000,
            runtime="30m",
        params:
            experiment=arguments,
            version=VERSIONS["score"],
        shell:
            "sepvox score {params.experiment} > {log:q} 2>&1"

else:

    rule choose_clean_up:
        input:
            lambda wildcards: clean_up_sources(wildcards.model),
        output:
            layout.clean_up("{model}"),
        log:
            layout.log("choose", "{model}"),
        benchmark:
            layout.benchmark("choose", "{model}")
        resources:
            mem_mb=8000,
            runtime="1h",
        params:
            experiment=arguments,
            clean_up=experiment.segment.clean_up,
            version=VERSIONS["choose"],
        shell:
            "sepvox choose {params.experiment} > {log:q} 2>&1"

    rule score_subjects:
        input:
            layout.done("classify", "{model}", "{slice}-{of}"),
        output:
            layout.done("score", "{model}", "{slice}-{of}"),
        log:
            layout.log("score", "{model}", "{slice}-{of}"),
        benchmark:
            layout.benchmark("score", "{model}", "{slice}-{of}")
        threads: experiment.score.processes
        resources:
            mem_mb=8000,
            runtime="4h",
        params:
            experiment=arguments,
            roles=lambda wildcards: scored(wildcards.model),
            version=VERSIONS["score"],
        shell:
            "sepvox score {params.experiment} --part {wildcards.slice}/{wildcards.of} > {log:q} 2>&1"

    rule summarise:
        input:
            slices(experiment.segment.slices, "score", "{model}"),
        output:
            layout.summary("{model}"),
            layout.summary_table("{model}"),
        log:
            layout.log("summarise", "{model}"),
        benchmark:
            layout.benchmark("summarise", "{model}")
        resources:
            mem_mb=2000,
            runtime="10m",
        params:
            experiment=arguments,
            roles=lambda wildcards: scored(wildcards.model),
            version=VERSIONS["score"],
        shell:
            "sepvox score {params.experiment} --part finish > {log:q} 2>&1"
