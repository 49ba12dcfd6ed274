"""The experiment, its paths, and the inputs that several rules share.

A *part* of a step is `create` (lay out the store), one of several *slices* of its blocks, or `finish` (root metadata).
The settings of such a step are parameters of its `create`; its slices and `finish` follow through their inputs.
"""

import os
import re
import shlex
import sys
from pathlib import Path

from sepvox.config import load
from sepvox.errors import SepvoxError
from sepvox.layout import Layout
from sepvox.versions import VERSIONS

# Rules call `sepvox`; it stands beside the Python that runs Snakemake, whether its environment is activated or not.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

CONFIG = workflow.configfiles[0]
RESULTS = Path("results")
MODELS = ["main"]
# On a cluster there is no total; its profile sets the threads of these rules.
CORES = workflow.resource_settings.cores or 1


def refuse(message):
    """End with one line, as the command line does; an exception would add the workflow's own lines after it."""
    sys.exit(f"error: {message}")


if workflow.config_settings.config:
    refuse(
        f"--config {' '.join(workflow.config_settings.config)}: not supported, for one experiment is exactly one file; "
        "copy the YAML file, change it there, and give it with --configfile FILE"
    )
if len(workflow.configfiles) > 1:
    refuse(f"--configfile: got {len(workflow.configfiles)} files, expected one; one experiment is exactly one file")

try:
    experiment = load(CONFIG)
except SepvoxError as error:
    refuse(error)

layout = Layout(RESULTS / experiment.experiment)


wildcard_constraints:
    model="[^/]+",
    volume="[^/]+",
    slice=r"\d+",
    of=r"\d+",


def arguments(wildcards, output):
    """The arguments that every verb takes.

    A parameter that is a function of `output` is not compared with the last run's: where the files lie is no setting.
    """
    names = [
        argument
        for name in ("model", "volume")
        if name in wildcards.keys()
        for argument in (f"--{name}", wildcards[name])
    ]
    return shlex.join([str(CONFIG), "--results", str(RESULTS), *names])


def settings(section, **options):
    """A section of the configuration as a rule's parameter: a changed value runs the rule again."""
    return section.model_dump(mode="json", **options)


def prepared(*roles):
    return [layout.done("prepare", volume) for volume in experiment.named(*roles)]


def slices(step, count):
    """Markers of all slices of a step."""
    return [layout.done(step, "{model}", "{volume}", f"{index}-{count}") for index in range(count)]


def weights(wildcards):
    """The network that predicts: trained here, or given with `network.weights`."""
    return [
        experiment.model_weights(RESULTS, wildcards.model),
        experiment.model_directory(RESULTS, wildcards.model) / "config.json",
    ]


def threshold_of_weights(model):
    """The merge threshold that came with given weights, as a list of at most one file."""
    file = experiment.model_directory(RESULTS, model) / "threshold.json"
    return [file] if experiment.train is None and file.exists() else []


def threshold_sources(model):
    """What the merge threshold is taken from: the configuration (no file), a file beside given weights, or sweeps."""
    if experiment.segment.threshold is not None:
        return []
    return threshold_of_weights(model) or [layout.sweep(model, volume) for volume in experiment.named("validate")]


def segmentations():
    """Markers of all finished segmentations."""
    return [layout.done("relabel", model, volume, "finish") for model in MODELS for volume in experiment.predicted()]


def figures():
    """Names of the report's figures, which depend on what the experiment has."""
    scored = ["voi", "errors"] if experiment.labelled() else []
    trained = ["training"] if experiment.train is not None else []
    return ["overview", *scored, *trained]


def check_inputs():
    """Refuse what is missing before any work starts; what has been prepared needs its source no more."""
    needed = {
        f"volumes.{volume}": experiment.source_files(volume)
        for volume in experiment.volumes
        if not layout.done("prepare", volume).exists()
    }
    if experiment.network.weights is not None:
        weights = Path(experiment.network.weights)
        needed["network.weights"] = [weights, weights.parent / "config.json"]
    for key, files in needed.items():
        for file in files:
            if not file.exists():
                refuse(f"{CONFIG}: {key}: {file}: no such file or folder; correct the path")
    if experiment.segment.threshold is None and not threshold_sources(MODELS[0]):
        refuse(
            f"{CONFIG}: segment.threshold: not given, not beside the weights, and no volume of role validate to choose it "
            "on; add one of these"
        )


def where_the_results_are():
    stores = [layout.segmentation(model, volume) for model in MODELS for volume in experiment.predicted()]
    return "\n".join(
        [
            f"Report:         {layout.report()} (open it in a browser)",
            *(f"Segmentation:   {store}" for store in stores),
            f"Look at them:   sepvox view {layout.root}",
            *(f"or:             napari --plugin napari-ome-zarr {store}" for store in stores[-1:]),
        ]
    )


def how_to_go_on(logfiles):
    """How to resume, and then the last line of each failed job, which says what was wrong."""
    console = "\n".join(Path(file).read_text() for file in logfiles)
    failed = re.findall(r"^ +log: (\S+) \(check log file", console, flags=re.MULTILINE)
    logs = [Path(name).read_text().splitlines() for name in dict.fromkeys(failed) if Path(name).exists()]
    return "\n".join(
        [
            "What is finished is kept: mend the cause and give the same command again.",
            f"After a kill or a power cut: make resume CONFIG={CONFIG} (snakemake --unlock, then the same command).",
            *(lines[-1] for lines in logs if lines),
        ]
    )


check_inputs()
