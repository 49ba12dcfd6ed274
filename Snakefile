"""From raw volumes to scored segmentations: one experiment, one YAML file.

snakemake --cores 2                                      the embedded phantom (configs/demo.yaml)
snakemake --cores 2 --configfile configs/fib25.yaml      another experiment
snakemake --cores 2 study_toy                            one of the papers' experiments
"""

import atexit

from snakemake.utils import min_version

min_version("9.20")

# A plain `configfile:` would merge the demo's volumes into every other experiment.
if not workflow.configfiles:

    configfile: f"{workflow.basedir}/configs/demo.yaml"


include: "workflow/rules/experiment.smk"
include: f"workflow/rules/{experiment.task}.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/study_settings.smk"
include: "workflow/rules/toy.smk"
include: "workflow/rules/blocks.smk"
include: "workflow/rules/compression.smk"
include: "workflow/rules/video_mnist.smk"
include: "workflow/rules/video.smk"


check_inputs()
check_partitions()


rule all:
    default_target: True
    input:
        layout.report(),
        segmentations(),


# At exit, so that these lines are the last ones, after Snakemake's own.
onsuccess:
    atexit.register(print, where_the_studies_are() or where_the_results_are())


onerror:
    atexit.register(print, how_to_go_on(log))
