"""Blocks in one U-Net (Gonda et al. 2018), beside any experiment: `snakemake --cores N study_blocks`.

The study is an experiment like any other, so its jobs are those of a workflow of its own, which this rule runs. On a
cluster give its file to --configfile too: the jobs are then the cluster's, not one of it.
"""

from sepvox.studies.blocks.settings import read_study

BLOCKS = study_settings("blocks", read_study)
BLOCKS_LAYOUT = BLOCKS.layout(RESULTS)
STUDY_RESULTS["study_blocks"] = f"Findings:       {BLOCKS_LAYOUT.study('findings.txt')}, index.html beside it"


rule study_blocks:
    input:
        lambda wildcards: sources(BLOCKS, study_file("blocks")),
    output:
        BLOCKS_LAYOUT.study("findings.txt"),
        BLOCKS_LAYOUT.study("findings.json"),
    log:
        BLOCKS_LAYOUT.log("blocks", "study"),
    benchmark:
        BLOCKS_LAYOUT.benchmark("blocks", "study")
    threads: CORES
    resources:
        mem_mb=32000,
        runtime="48h",
    params:
        study=study_arguments("blocks"),
        workflow=nested_workflow(study_file("blocks")),
        settings=settings(BLOCKS),
        versions=VERSIONS,
    shell:
        "({params.workflow} sepvox study blocks {params.study}) 2>&1 | tee {log:q}"
