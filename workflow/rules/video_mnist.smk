"""The study Video-MNIST (Ras et al. 2019, Table 2), beside any experiment: `snakemake --cores N study_video_mnist`.

Every training is a job. The configuration is the small one, or SEPVOX_STUDY_VIDEO_MNIST=configs/studies/YOURS.yaml.
"""

from sepvox.studies.video_mnist.settings import read_study
from sepvox.studies.video_mnist.units import candidate_units, reported_units

VIDEO_MNIST_FILE = Path(
    os.environ.get("SEPVOX_STUDY_VIDEO_MNIST") or f"{workflow.basedir}/configs/studies/video-mnist.yaml"
)
try:
    VIDEO_MNIST = read_study(VIDEO_MNIST_FILE)
    VIDEO_MNIST_TABLE = VIDEO_MNIST.with_table()
except SepvoxError as error:
    refuse(error)
if VIDEO_MNIST.experiment == experiment.experiment:
    refuse(f"{CONFIG}: experiment: {VIDEO_MNIST.experiment} is the name of a study; choose another")

VIDEO_MNIST_LAYOUT = Layout(RESULTS / VIDEO_MNIST.experiment)
STUDY_RESULTS["study_video_mnist"] = f"Table:          {VIDEO_MNIST_LAYOUT.study('table.md')}, its figure beside it"
VIDEO_MNIST_CANDIDATES = {unit.name: unit for unit in candidate_units(VIDEO_MNIST_TABLE)}
VIDEO_MNIST_UNITS = VIDEO_MNIST_CANDIDATES | {unit.name: unit for unit in reported_units(VIDEO_MNIST_TABLE)}


def video_mnist_arguments(wildcards, output):
    """The arguments that every verb of the study takes; see `arguments`."""
    return shlex.join([str(VIDEO_MNIST_FILE), "--results", str(RESULTS)])


def unit_options(wildcards):
    """Which training a job is."""
    unit = VIDEO_MNIST_UNITS[wildcards.unit]
    rate = [] if unit.rate is None else ["--rate", repr(unit.rate)]
    return shlex.join(["--network", unit.network, "--videos", str(unit.videos), "--run", str(unit.run), *rate])


def unit_settings(wildcards):
    """What comes of a training depends on this, and on the rate that was chosen for it."""
    unit, train, test = VIDEO_MNIST_UNITS[wildcards.unit], VIDEO_MNIST_TABLE.train, VIDEO_MNIST_TABLE.test
    return {
        "network": unit.classifier(VIDEO_MNIST_TABLE).name,
        "rates": train.rates(unit.network) if unit.rate is None else [unit.rate],
        "train": settings(train, exclude=train.free),
        "test": (test.videos, unit.run < test.whole_runs) if unit.rate is None else None,
    }


def chosen_rates(wildcards):
    """The learning rates, where that of the training was to be chosen."""
    unit = VIDEO_MNIST_UNITS[wildcards.unit]
    several = len(VIDEO_MNIST_TABLE.train.rates(unit.network)) > 1
    return [VIDEO_MNIST_LAYOUT.learning_rates()] if several and unit.rate is None else []


def trained(units):
    """Markers of trainings."""
    return [VIDEO_MNIST_LAYOUT.done("video-mnist-train", unit) for unit in units]


rule study_video_mnist:
    input:
        VIDEO_MNIST_LAYOUT.study("table.md"),


rule video_mnist_videos:
    output:
        [VIDEO_MNIST_LAYOUT.done("video-mnist", split, "finish") for split in ("train", "validation", "test")],
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
        study=video_mnist_arguments,
        videos=settings(VIDEO_MNIST.videos, exclude={"processes"}),
        version=VERSIONS["video-mnist"],
    shell:
        "sepvox study video-mnist videos {params.study} --restart > {log:q} 2>&1"


rule video_mnist_train:
    input:
        videos=[VIDEO_MNIST_LAYOUT.done("video-mnist", split, "finish") for split in ("train", "validation", "test")],
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
        study=video_mnist_arguments,
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
        study=video_mnist_arguments,
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
        study=video_mnist_arguments,
        settings=settings(VIDEO_MNIST),
        version=VERSIONS["video-mnist-table"],
    shell:
        "sepvox study video-mnist table {params.study} > {log:q} 2>&1"
