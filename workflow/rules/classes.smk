"""What the rules of the task classes take, and what their user is told."""


def subjects_of(index, count):
    """Names of the subjects of a slice."""
    names = list(experiment.people)
    return [names[number] for number in Part(int(index), int(count)).of(len(names))]


def subject_files(index, count):
    """Scans and label maps of a slice; those of a phantom are no input."""
    people = [experiment.people[name] for name in subjects_of(index, count)]
    return [
        file for person in people for file in (*person.images.values(), *([person.labels] if person.labels else []))
    ]


def prepared():
    """Markers of all prepared subjects."""
    return slices(experiment.prepare.slices, "prepare")


def learned(model):
    """What a model learns from: another split runs its training again."""
    return {role: experiment.named(model, role) for role in ("train", "validate")}


def clean_up_sources(model):
    """What the choice of clean-up looks at: predictions of validation subjects, or the choices of an ensemble's models."""
    if experiment.is_ensemble(model):
        return [layout.clean_up(member) for member in members(model)]
    return slices(experiment.predict.slices, "predict", model)


def scored(model):
    """Whether a model, or an ensemble, predicts a subject whose truth is known."""
    return any(experiment.has_truth(name) for name in experiment.predicted(model))


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


def check_inputs():
    """Refuse what is missing before any work starts."""
    try:
        people = experiment.people
        for model in MODELS:
            experiment.roles(model)
    except SepvoxError as error:
        refuse(f"{CONFIG}: {error}")
    needed = {
        f"subject {person.name}": [*person.images.values(), *([person.labels] if person.labels else [])]
        for person in people.values()
    }
    refuse_missing(needed)


def where_the_results_are():
    model = MODELS[-1]
    names = experiment.predicted(model)
    return "\n".join(
        [
            f"Report:         {layout.report()} (open it in a browser)",
            *(f"Scores:         {file}" for file in map(layout.summary_table, MODELS) if file.exists()),
            f"Class maps:     {layout.root}/outputs/MODEL/SUBJECT/segmentation.nii.gz",
            *(f"for example:    {layout.native_segmentation(model, name)}" for name in names[:1]),
            f"Look at them:   sepvox view {layout.root}",
        ]
    )
