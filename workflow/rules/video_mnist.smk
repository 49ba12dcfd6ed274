"""The study Video-MNIST (Ras et al. 2019, Table 2), beside any experiment: `snakemake --cores N study_video_mnist`.

Every training is a job.
"""


include: "video_mnist_study.smk"


rule study_video_mnist:
    input:
        VIDEO_MNIST_LAYOUT.study("table.md"),


rule video_mnist_videos:
    input:
        video_mnist_digits,
    output:
        [VIDEO_MNIST_LAYOUT.done("video-mnist", split, "finish") for split in SPLITS],
        report(
            VIDEO_MNIST_LAYOUT.contact_sheet(),
            caption="../report/video_mnist_videos.rst",
            category="Studies",
            labels={"shows": "one video of each class"},
        ),
    log:
        VIDEO_MNIST_LAYOUT.log("video-mnist", "videos"),
    benchmark:
        VIDEO_MNIST_LAYOUT.benchmark("video-mnist", "videos")
    threads: VIDEO_MNIST.videos.processes
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        study=study_arguments("video-mnist"),
        videos=settings(VIDEO_MNIST.videos, exclude={"processes"}),
        version=VERSIONS["video-mnist"],
    shell:
        "sepvox study video-mnist videos {params.study} --restart > {log:q} 2>&1"


rule video_mnist_train:
    input:
        videos=[VIDEO_MNIST_LAYOUT.done("video-mnist", split, "finish") for split in SPLITS],
        rates=chosen_rates,
    output:
        VIDEO_MNIST_LAYOUT.done("video-mnist-train", "{unit}"),
    log:
        VIDEO_MNIST_LAYOUT.log("video-mnist-train", "{unit}"),
    benchmark:
        VIDEO_MNIST_LAYOUT.benchmark("video-mnist-train", "{unit}")
    wildcard_constraints:
        unit="|".join(map(re.escape, VIDEO_MNIST_UNITS)),
    # Small networks gain little from a second core; two trainings side by side do.
    threads: 1
    resources:
        mem_mb=3000,
        runtime="12h",
    params:
        study=study_arguments("video-mnist"),
        unit=unit_options,
        settings=unit_settings,
        version=VERSIONS["video-mnist-train"],
    shell:
        "sepvox study video-mnist train {params.study} {params.unit} --threads {threads} --restart > {log:q} 2>&1"


rule video_mnist_choose:
    input:
        trained(VIDEO_MNIST_CANDIDATES),
    output:
        VIDEO_MNIST_LAYOUT.learning_rates(),
    log:
        VIDEO_MNIST_LAYOUT.log("video-mnist-choose", "choose"),
    benchmark:
        VIDEO_MNIST_LAYOUT.benchmark("video-mnist-choose", "choose")
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        study=study_arguments("video-mnist"),
        version=VERSIONS["video-mnist-choose"],
    shell:
        "sepvox study video-mnist choose {params.study} > {log:q} 2>&1"


rule video_mnist_table:
    input:
        trained(unit for unit in VIDEO_MNIST_UNITS if unit not in VIDEO_MNIST_CANDIDATES),
    output:
        [VIDEO_MNIST_LAYOUT.study(file) for file in ("table.md", "table.csv", "table.json", "accuracy.svg")],
        report(
            VIDEO_MNIST_LAYOUT.study("accuracy.png"),
            caption="../report/video_mnist.rst",
            category="Studies",
            labels={"shows": "accuracy on Video-MNIST"},
        ),
    log:
        VIDEO_MNIST_LAYOUT.log("video-mnist-table", "table"),
    benchmark:
        VIDEO_MNIST_LAYOUT.benchmark("video-mnist-table", "table")
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        study=study_arguments("video-mnist"),
        settings=settings(VIDEO_MNIST),
        version=VERSIONS["video-mnist-table"],
    shell:
        "sepvox study video-mnist table {params.study} > {log:q} 2>&1"
