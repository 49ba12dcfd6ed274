"""What the rules of studies share.

Every study has a configuration of its own, configs/studies/NAME.yaml, which is a small one. Another file is named by the
environment: SEPVOX_STUDY_TOY=configs/studies/toy-published.yaml.
"""

# What a run says at its end, by the rule that was asked for.
STUDY_RESULTS = {}
# The configuration of each study's experiment, by its name.
STUDY_NAMES = {}


def study_file(name):
    """The configuration of a study."""
    chosen = os.environ.get(f"SEPVOX_STUDY_{name.upper().replace('-', '_')}")
    return Path(chosen or f"{workflow.basedir}/configs/studies/{name}.yaml")


def read_or_refuse(read, path):
    """What a configuration says, or the end of the run."""
    try:
        return read(path)
    except SepvoxError as error:
        refuse(error)


def is_the_experiment(config):
    """Whether a study's experiment is the one that the workflow is of."""
    return Path(config).resolve() == Path(CONFIG).resolve()


def study_settings(name, read):
    """The settings of a study, whose results must not be those of another experiment beside it."""
    study = read_or_refuse(read, study_file(name))
    if study.experiment == experiment.experiment and not is_the_experiment(study_file(name)):
        refuse(f"{CONFIG}: experiment: {study.experiment} is the name of a study; choose another")
    other = STUDY_NAMES.setdefault(study.experiment, study_file(name))
    if other != study_file(name):
        refuse(f"{study_file(name)}: experiment: {study.experiment} is that of {other} too; choose another")
    return study


def study_arguments(name):
    """The arguments that every verb of a study takes; as a function of `output` they are not compared with the last run's."""
    return lambda wildcards, output: shlex.join([str(study_file(name)), "--results", str(RESULTS)])


def sources(study, config):
    """What the results of a study's experiment come from: its data, or, where the workflow is of it, its report."""
    if is_the_experiment(config):
        return [layout.report()]
    if isinstance(study, NeuronsExperiment):
        return [file for volume in study.volumes for file in study.source_files(volume)]
    scans = [(*person.images.values(), person.labels) for person in study.people.values()]
    return [file for files in scans for file in files if file is not None]


def nested_workflow(config):
    """The command of a workflow of its own, on another experiment, with what joins it to the next command."""
    if is_the_experiment(config):
        return lambda wildcards, output: ""
    # Its end would remove the locks of this one too. Steps have locks of their own.
    options = shlex.join(["--nolock", "--snakefile", str(workflow.main_snakefile), "--configfile", str(config)])
    return lambda wildcards, output, threads: f"snakemake --cores {threads} {options} &&"


def where_the_studies_are():
    """Where the results of the studies that were asked for are; nothing where none was."""
    return "\n".join(STUDY_RESULTS[name] for name in STUDY_RESULTS if name in workflow.dag_settings.targets)
