"""What the rules of studies share.

Every study has a configuration of its own, configs/studies/NAME.yaml, which is a small one. Another file is named by the
environment: SEPVOX_STUDY_TOY=configs/studies/toy-published.yaml.
"""

# What a run says at its end, by the rule that was asked for.
STUDY_RESULTS = {}


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


def study_settings(name, read):
    """The settings of a study, whose results must not be those of another experiment beside it."""
    study = read_or_refuse(read, study_file(name))
    if study.experiment == experiment.experiment and study_file(name).resolve() != Path(CONFIG).resolve():
        refuse(f"{CONFIG}: experiment: {study.experiment} is the name of a study; choose another")
    return study


def study_arguments(name):
    """The arguments that every verb of a study takes; as a function of `output` they are not compared with the last run's."""
    return lambda wildcards, output: shlex.join([str(study_file(name)), "--results", str(RESULTS)])


def nested_workflow(config):
    """The arguments of a workflow of its own, on another experiment."""
    return lambda wildcards, output: shlex.join(
        ["--snakefile", str(workflow.main_snakefile), "--configfile", str(config)]
    )


def where_the_studies_are():
    """Where the results of the studies that were asked for are; nothing where none was."""
    return "\n".join(STUDY_RESULTS[name] for name in STUDY_RESULTS if name in workflow.dag_settings.targets)
