if experiment.train is not None:

    rule train:
        input:
            volumes=prepared("train", "validate"),
            initial=experiment.network.weights or [],
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
            volumes={role: experiment.named(role) for role in ("train", "validate")},
            network=settings(experiment.network),
            train=settings(experiment.train, exclude={"workers", "device", "tensorboard", "checkpoint_every"}),
            version=VERSIONS["train"],
        shell:
            "sepvox train {params.experiment} --restart 2>&1 | tee {log:q}"
