"""Video classification (Gonda et al. 2018, Section 4.1), beside any experiment: `snakemake --cores N study_video`."""


include: "video_study.smk"


rule study_video:
    input:
        VIDEO_LAYOUT.study("table.csv"),


rule video_videos:
    input:
        video_sources,
    output:
        VIDEO_LAYOUT.done("video", "videos"),
    log:
        VIDEO_LAYOUT.log("video", "videos"),
    benchmark:
        VIDEO_LAYOUT.benchmark("video", "videos")
    threads: (VIDEO.mnist or VIDEO.folder).processes
    resources:
        mem_mb=8000,
        runtime="4h",
    params:
        study=study_arguments("video"),
        sources=settings(VIDEO, include={"mnist", "folder"}, exclude={"mnist": {"processes"}, "folder": {"processes"}}),
        files=video_files,
        versions=[VERSIONS["video"], VERSIONS["video-mnist"]],
    shell:
        "sepvox study video {params.study} --part videos --restart > {log:q} 2>&1"


rule video_unit:
    input:
        VIDEO_LAYOUT.done("video", "videos"),
    output:
        done=VIDEO_LAYOUT.done("video", "units", "{unit}"),
        result=VIDEO_LAYOUT.result("{unit}"),
        weights=VIDEO_LAYOUT.weights("{unit}"),
        config=VIDEO_LAYOUT.model_config("{unit}"),
        metrics=VIDEO_LAYOUT.metrics("{unit}"),
    log:
        VIDEO_LAYOUT.log("video", "units", "{unit}"),
    benchmark:
        VIDEO_LAYOUT.benchmark("video", "units", "{unit}")
    wildcard_constraints:
        unit="|".join(map(re.escape, VIDEO.units())),
    threads: CORES
    resources:
        mem_mb=16000,
        runtime="48h",
    params:
        study=study_arguments("video"),
        settings=video_unit_settings,
        version=VERSIONS["video"],
    shell:
        "sepvox study video {params.study} --part {wildcards.unit} --restart 2>&1 | tee {log:q}"


rule video_tables:
    input:
        video_units(),
    output:
        csv=VIDEO_LAYOUT.study("table.csv"),
        json=VIDEO_LAYOUT.study("table.json"),
        figures=[
            report(path, caption="../report/video.rst", category="Studies", labels={"shows": shows})
            for path, shows in video_figures().items()
        ],
    log:
        VIDEO_LAYOUT.log("video", "tables"),
    benchmark:
        VIDEO_LAYOUT.benchmark("video", "tables")
    resources:
        mem_mb=8000,
        runtime="1h",
    params:
        study=study_arguments("video"),
        version=VERSIONS["video"],
    shell:
        "sepvox study video {params.study} --part tables > {log:q} 2>&1"
