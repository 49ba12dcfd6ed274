rule report:
    input:
        scores=scores(),
        segmentations=segmentations(),
        metrics=[layout.metrics(model) for model in experiment.runs() if experiment.train is not None],
    output:
        page=report(
            layout.report(),
            caption="../report/page.rst",
            category="Report",
            labels={"shows": "the whole experiment"},
        ),
        figures=[
            report(
                layout.figures() / f"{figure}.png",
                caption=f"../report/{figure}.rst",
                category="Figures",
                labels={"shows": figure},
            )
            for figure in figures()
        ],
        tables=tables(),
    log:
        layout.log("report", "report"),
    benchmark:
        layout.benchmark("report", "report")
    resources:
        mem_mb=8000,
        runtime="1h",
    params:
        experiment=arguments,
        settings=settings(experiment),
        version=VERSIONS["report"],
    shell:
        "sepvox report {params.experiment} > {log:q} 2>&1"
