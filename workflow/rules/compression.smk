"""Compression of a trained dense network, beside any experiment: `snakemake --cores N study_compression`.

Three workflows one after the other: the dense experiment, and the two that `sepvox study compression` makes of its weights.
"""

from sepvox.studies.compression.settings import read_study, stage_config

COMPRESSION = study_settings("compression", read_study)
COMPRESSION_LAYOUT = Layout(RESULTS / COMPRESSION.experiment)
STUDY_RESULTS["study_compression"] = f"Table:          {COMPRESSION_LAYOUT.study('table.csv')}"


rule study_compression:
    input:
        [layout.report()] if is_the_experiment(COMPRESSION.dense) else [],
    output:
        COMPRESSION_LAYOUT.study("table.csv"),
    log:
        COMPRESSION_LAYOUT.log("compression", "study"),
    benchmark:
        COMPRESSION_LAYOUT.benchmark("compression", "study")
    threads: CORES
    resources:
        mem_mb=32000,
        runtime="48h",
    params:
        study=study_arguments("compression"),
        dense=nested_workflow(COMPRESSION.dense),
        applied=nested_workflow(stage_config(COMPRESSION, RESULTS, "applied")),
        trained=nested_workflow(stage_config(COMPRESSION, RESULTS, "trained")),
        settings=settings(COMPRESSION),
        dense_settings=settings(read_or_refuse(load, COMPRESSION.dense)),
        versions=VERSIONS,
    shell:
        "({params.dense} sepvox study compression {params.study} &&"
        " {params.applied} {params.trained}"
        " sepvox study compression {params.study} --table) 2>&1 | tee {log:q}"
