"""What the rules of the task classes take, and what their user is told."""

from sepvox.predict.class_model import check_trained_for, read_class_model

try:
    MODELS = experiment.predictors()
    for _model in MODELS:
        experiment.roles(_model)
except SepvoxError as error:
    refuse(f"{CONFIG}: {error}")


def subjects_of(index, count):
    """Names of the subjects of a slice."""
    names = list(experiment.people)
    return [names[number] for number in Part(int(index), int(count)).of(len(names))]


def files_of(subject):
    """Scans and label map of a subject by what they are; those of a phantom are no input."""
    person = experiment.people[subject]
    return person.images | ({"labels": person.labels} if person.labels else {})


def subject_files(index, count):
    """Scans and label maps of a slice."""
    return [file for name in subjects_of(index, count) for file in files_of(name).values()]


def described(index, count):
    """Which file of a slice is what: the same files in other columns are other subjects."""
    return {name: {what: str(file) for what, file in files_of(name).items()} for name in subjects_of(index, count)}


def prepared():
    """Markers of all prepared subjects."""
    return slices(experiment.prepare.slices, "prepare")


def learned(model):
    """What a model learns from: another split runs its training again."""
    return {role: experiment.named(model, role) for role in ("train", "validate")}


def clean_up_sources(model):
    """What the choice of clean-up looks at: predictions of validation subjects, the choices of an ensemble's models, or a file beside given weights."""
    if experiment.is_ensemble(model):
        return [layout.clean_up(member) for member in members(model)]
    if experiment.train is None:
        beside = experiment.model_directory(RESULTS, model) / "clean_up.json"
        return [beside] if beside.exists() else []
    return slices(experiment.predict.slices, "predict", model)


def scored(model):
    """Roles of the subjects that a model, or an ensemble, is scored on."""
    roles, predicted = experiment.roles(model), experiment.predicted(model)
    return {name: roles[name] for name in predicted if roles[name] != "apply" and experiment.has_truth(name)}


def scores():
    return [layout.summary(model) for model in MODELS if scored(model)]


def segmentations():
    """Markers of all finished class maps."""
    return [marker for model in MODELS for marker in slices(experiment.segment.slices, "classify", model)]


def figures():
    """Names of the report's figures, which depend on what the experiment has."""
    known = ["scores"] if scores() else []
    trained = ["training"] if experiment.train is not None else []
    compared = ["comparison"] if len(experiment.models) > 1 and scores() else []
    return ["overlays", *known, *trained, *compared]


def tables():
    """The report's tables as files."""
    compared = [layout.comparison(), layout.comparison_marker()] if len(experiment.models) > 1 else []
    return [*compared, *([layout.pooled("csv"), layout.pooled("json")] if scores() else [])]


def check_inputs():
    """Refuse what is missing before any work starts."""
    refuse_unreachable_stores()
    refuse_missing(
        {f"subject {name}: {what}": [file] for name in experiment.people for what, file in files_of(name).items()}
    )
    try:
        for model in experiment.runs():
            if variant(model, "network").weights is not None:
                given = read_class_model(Path(variant(model, "network").weights))
                check_trained_for(given, experiment.classes, experiment.modalities, experiment.prepare)
    except SepvoxError as error:
        refuse(f"{CONFIG}: {error}")


def where_the_results_are():
    model = MODELS[-1]
    names = experiment.predicted(model)
    return "\n".join(
        [
            f"Report:         {layout.report()} (open it in a browser)",
            *(f"Scores:         {file}" for file in map(layout.summary_table, MODELS) if file.exists()),
            f"Class maps:     {layout.root}/outputs/MODEL/SUBJECT/segmentation.nii.gz",
            *(f"for example:    {layout.native_segmentation(model, name)}" for name in names[:1]),
            f"Look at them:   sepvox view {layout.root}" + ("" if model == MAIN else f" --model {model}"),
        ]
    )
