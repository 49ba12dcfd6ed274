if experiment.train is not None:

    rule train:
        input:
            prepared=prepared(),
            initial=lambda wildcards: variant(wildcards.model, "network").weights or [],
        output:
            weights=layout.weights("{model}"),
            config=layout.model_config("{model}"),
            metrics=layout.metrics("{model}"),
        log:
            layout.log("train", "{model}"),
        benchmark:
            layout.benchmark("train", "{model}")
        threads: CORES
        resources:
            mem_mb=16000,
            runtime="24h",
        params:
            experiment=arguments,
            learned=lambda wildcards: learned(wildcards.model),
            network=lambda wildcards: settings(variant(wildcards.model, "network")),
            train=lambda wildcards: settings(variant(wildcards.model, "train"), exclude=experiment.train.free),
            version=VERSIONS["train"],
        shell:
            "sepvox train {params.experiment} --restart 2>&1 | tee {log:q}"
