"""Compression of a trained dense network, beside any experiment: `snakemake --cores N study_compression`.

Three workflows one after the other: the dense experiment, and the two that `sepvox study compression` makes of its weights.
"""

from sepvox.studies.compression.settings import read_study, stage_config

COMPRESSION = study_settings("compression", read_study)
COMPRESSION_DENSE = read_or_refuse(load, COMPRESSION.dense)
COMPRESSION_LAYOUT = Layout(RESULTS / COMPRESSION.experiment)
STUDY_RESULTS["study_compression"] = f"Table:          {COMPRESSION_LAYOUT.study('table.csv')}"
# Where the dense experiment is that of the study of blocks, that study runs before.
COMPRESSION_AFTER_BLOCKS = Path(COMPRESSION.dense).resolve() == study_file("blocks").resolve()


rule study_compression:
    input:
        lambda wildcards: (
            [BLOCKS_LAYOUT.study("findings.json")]
            if COMPRESSION_AFTER_BLOCKS
            else sources(COMPRESSION_DENSE, COMPRESSION.dense)
        ),
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
        dense_settings=settings(COMPRESSION_DENSE),
        versions=VERSIONS,
    shell:
        "({params.dense} sepvox study compression {params.study} &&"
        " {params.applied} {params.trained}"
        " sepvox study compression {params.study} --table) 2>&1 | tee {log:q}"
