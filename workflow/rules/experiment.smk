"""The experiment, its paths, and the inputs that several rules share.

A *part* of a step is `create` (lay out the store), one of several *slices* of its blocks, or `finish` (root metadata).
The settings of such a step are parameters of its `create`; its slices and `finish` follow through their inputs.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from sepvox.blocks import Part
from sepvox.config import load
from sepvox.errors import SepvoxError
from sepvox.experiments.base import MAIN
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.storage import place
from sepvox.versions import VERSIONS

# Rules call `sepvox`; it stands beside the Python that runs Snakemake, whether its environment is activated or not.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

CONFIG = workflow.configfiles[0]
RESULTS = Path("results")
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

layout = experiment.layout(RESULTS)
NEURONS = isinstance(experiment, NeuronsExperiment)


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


def slices(count, *step):
    """Markers of all slices of a step."""
    return [layout.done(*step, f"{index}-{count}") for index in range(count)]


def variant(model, section):
    """A section of the experiment as one of its models has it."""
    return getattr(experiment.variant(model), section)


def weights(wildcards):
    """The network that predicts, trained here or given with `network.weights`; of an ensemble all of them."""
    return [
        file
        for model in members(wildcards.model)
        for file in (
            experiment.model_weights(RESULTS, model),
            experiment.model_directory(RESULTS, model) / "config.json",
        )
    ]


def members(model):
    """The models that an ensemble is made of, or the model itself."""
    return [model] if NEURONS else experiment.ensembles().get(model, [model])


def refuse_missing(needed):
    """Refuse what is not there: files by what they are, and the weights that are applied or trained on."""
    for model in experiment.runs():
        if variant(model, "network").weights is not None:
            weights = Path(variant(model, "network").weights)
            needed = needed | {"network.weights": [weights, weights.parent / "config.json"]}
    for key, files in needed.items():
        for file in files:
            if not file.exists():
                refuse(f"{CONFIG}: {key}: {file}: no such file or folder; correct the path")


def refuse_unreachable(addresses):
    """Refuse addresses at which there is no Zarr store, or that do not let us in; a job need not ask again."""
    if not addresses or not workflow.is_main_process:
        return
    from sepvox.prepare.readers.source import check_address

    try:
        for key, address in addresses.items():
            check_address(address, f"{CONFIG}: {key}")
    except SepvoxError as error:
        refuse(error)


def refuse_unreachable_stores():
    """Refuse an address of `stores` that cannot be reached, or that does not let us in."""
    if experiment.stores is not None and workflow.is_main_process:
        try:
            place(experiment.stores).exists()
        except SepvoxError as error:
            refuse(f"{CONFIG}: stores: {error}")


def check_partitions():
    """Refuse a partition that Slurm does not have: of a group of jobs Snakemake does not say why it was not submitted."""
    given = [rule.resources["slurm_partition"].raw for rule in workflow.rules if "slurm_partition" in rule.resources]
    if not given or not workflow.is_main_process or shutil.which("sinfo") is None:
        return
    sinfo = subprocess.run(["sinfo", "--all", "--noheader", "--format=%R"], capture_output=True, text=True)
    known = sinfo.stdout.split()
    # What is no plain list of names is an expression that each job evaluates for itself.
    asked = {name for text in map(str, given) if re.fullmatch(r"[\w.,-]+", text) for name in text.split(",")}
    for name in sorted(asked.difference(known)) if known else []:
        refuse(f"slurm_partition: {name}: no such partition, Slurm has {', '.join(known)}; correct it in the profile")


def how_to_go_on(logfiles):
    """How to resume, then what Slurm says of failed jobs, and then the last line of each, which says what was wrong."""
    console = "\n".join(Path(file).read_text() for file in logfiles)
    # On a cluster the job's own log is followed by the cluster's.
    failed = re.findall(r"^ +log: ([^\s,]+)(?:, \S+)* \(check log file", console, flags=re.MULTILINE)
    # A job that it killed may have said nothing itself.
    slurm = r"^ +message: (SLURM sbatch failed.*|SLURM-job '\d+' failed, SLURM status is: '(?!FAILED)\w+')"
    killed = re.findall(slurm, console, flags=re.MULTILINE)
    logs = [Path(name).read_text().splitlines() for name in dict.fromkeys(failed) if Path(name).exists()]
    return "\n".join(
        [
            "What is finished is kept: mend the cause and give the same command again.",
            f"After a kill or a power cut: make resume CONFIG={shlex.quote(str(CONFIG))} (snakemake --unlock, then the same command).",
            *killed,
            *(lines[-1] for lines in logs if lines),
        ]
    )
