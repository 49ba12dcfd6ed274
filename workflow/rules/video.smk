include: "video_study.smk"


rule study_video:
    input:
        expand(VIDEO.table("csv"), study="video"),


rule study_video_published:
    input:
        expand(VIDEO.table("csv"), study="video-published"),


rule video_videos:
    output:
        VIDEO.done("video", "videos"),
    log:
        VIDEO.log("video", "videos"),
    benchmark:
        VIDEO.benchmark("video", "videos")
    wildcard_constraints:
        study="|".join(VIDEO_STUDIES),
    resources:
        mem_mb=8000,
        runtime="4h",
    params:
        study=video_arguments,
        sources=video_sources,
        version=VERSIONS["video"],
    shell:
        "sepvox study video {params.study} --part videos --restart > {log:q} 2>&1"


rule video_unit:
    input:
        VIDEO.done("video", "videos"),
    output:
        done=VIDEO.done("video", "units", "{unit}"),
        result=VIDEO.result("{unit}"),
        weights=VIDEO.weights("{unit}"),
        config=VIDEO.model_config("{unit}"),
        metrics=VIDEO.metrics("{unit}"),
    log:
        VIDEO.log("video", "units", "{unit}"),
    benchmark:
        VIDEO.benchmark("video", "units", "{unit}")
    wildcard_constraints:
        study="|".join(VIDEO_STUDIES),
        unit="[^/]+",
    threads: CORES
    resources:
        mem_mb=16000,
        runtime="48h",
    params:
        study=video_arguments,
        settings=video_unit_settings,
        version=VERSIONS["video"],
    shell:
        "sepvox study video {params.study} --part {wildcards.unit} --restart 2>&1 | tee {log:q}"


rule video_tables:
    input:
        video_units,
    output:
        csv=VIDEO.table("csv"),
        json=VIDEO.table("json"),
        figure=VIDEO.figures() / "accuracy.png",
    log:
        VIDEO.log("video", "tables"),
    benchmark:
        VIDEO.benchmark("video", "tables")
    wildcard_constraints:
        study="|".join(VIDEO_STUDIES),
    resources:
        mem_mb=8000,
        runtime="1h",
    params:
        study=video_arguments,
        version=VERSIONS["video"],
    shell:
        "sepvox study video {params.study} --part tables > {log:q} 2>&1"
