"""What the rules of studies share.

Every study has a configuration of its own, configs/studies/NAME.yaml, which is a small one. Another file is named by the
environment: SEPVOX_STUDY_TOY=configs/studies/toy-published.yaml.
"""

from sepvox.config import load_study

# What a run says at its end, by the rule that was asked for.
STUDY_RESULTS = {}


def study_file(name):
    """The configuration of a study."""
    chosen = os.environ.get(f"SEPVOX_STUDY_{name.upper().replace('-', '_')}")
    return Path(chosen or f"{workflow.basedir}/configs/studies/{name}.yaml")


def study_settings(name, model, files=()):
    """The settings of a study, whose results must not be those of the experiment beside it; `files` are keys of paths."""
    try:
        study = load_study(study_file(name), model, files)
    except SepvoxError as error:
        refuse(error)
    if study.experiment == experiment.experiment:
        refuse(f"{CONFIG}: experiment: {study.experiment} is the name of a study; choose another")
    return study


def study_arguments(name):
    """The arguments that every verb of studies takes."""
    return shlex.join(["study", name, str(study_file(name)), "--results", str(RESULTS)])


def where_the_studies_are():
    """Where the results of the studies that were asked for are; nothing where none was."""
    return "\n".join(STUDY_RESULTS[name] for name in STUDY_RESULTS if name in workflow.dag_settings.targets)
