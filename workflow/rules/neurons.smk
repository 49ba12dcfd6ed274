"""What the rules of the task neurons take, and what their user is told."""

MODELS = list(experiment.runs())


def prepared():
    """Markers of what training reads."""
    return [layout.done("prepare", volume) for volume in experiment.named("train", "validate")]


def learned(model):
    """What a model learns from: a changed role runs its training again."""
    return {role: experiment.named(role) for role in ("train", "validate")}


def scores():
    return [layout.scores(model, volume) for model in MODELS for volume in experiment.labelled()]


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
    compared = ["comparison"] if len(experiment.models) > 1 and scored else []
    return ["overview", *scored, *trained, *compared]


def tables():
    """The report's tables as files."""
    return [layout.comparison(), layout.comparison_marker()] if len(experiment.models) > 1 else []


def check_inputs():
    """Refuse what is missing before any work starts; what has been prepared needs its source no more."""
    needed = {
        f"volumes.{volume}": experiment.source_files(volume)
        for volume in experiment.volumes
        if not layout.done("prepare", volume).exists()
    }
    refuse_missing(needed)
    refuse_unreachable_stores()
    refuse_unreachable(
        {
            f"volumes.{volume}.{key}": address
            for volume in experiment.volumes
            if not layout.done("prepare", volume).exists()
            for key, address in experiment.source_addresses(volume).items()
        }
    )
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
            f"Look at them:   sepvox view {layout.root}" + ("" if MODELS[0] == MAIN else f" --model {MODELS[0]}"),
            *(f"or:             napari --plugin napari-ome-zarr {store}" for store in stores[-1:]),
        ]
    )
