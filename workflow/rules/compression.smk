"""Compression of a trained dense network, beside any experiment: `snakemake --cores N study_compression`.

Three workflows one after the other: the dense experiment, and the two that `sepvox study compression` makes of its weights.
"""

from sepvox.studies.compression.settings import read_study, stage_config

COMPRESSION = study_settings("compression", read_study)
COMPRESSION_DENSE = read_or_refuse(load, COMPRESSION.dense)
COMPRESSION_LAYOUT = Layout(RESULTS / COMPRESSION.experiment)
STUDY_RESULTS["study_compression"] = f"Table:          {COMPRESSION_LAYOUT.study('table.csv')}"


def dense_sources():
    """What the results come from. Where the dense experiment is that of the study of blocks, that study runs before."""
    if Path(COMPRESSION.dense).resolve() == study_file("blocks").resolve():
        return [BLOCKS_LAYOUT.study("findings.json")]
    return sources(COMPRESSION_DENSE, COMPRESSION.dense)


rule study_compression:
    input:
        lambda wildcards: dense_sources(),
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
