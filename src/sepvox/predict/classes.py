"""predict for classes: prepared subjects to class probabilities, by one network or an ensemble, loaded once per job."""

from pathlib import Path

from sepvox import markers
from sepvox.blocks import Part
from sepvox.errors import ConfigError, StaleError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.predict.class_model import check_trained_for, read_class_model
from sepvox.predict.class_networks import Method, load_forward, method_of, precision_of, predict_subject
from sepvox.predict.class_tiles import Forward
from sepvox.prepare.subject import check_prepared, open_subject
from sepvox.storage import Place
from sepvox.subjectwise import Subjectwise
from sepvox.versions import VERSIONS


def predict_subjects(
    experiment: ClassesExperiment, model: str, results: Path, part: Part, restart: bool = False
) -> None:
    """Write probabilities.zarr of the subjects of a part.

    Parameters
    ----------
    model : str
        A model or an ensemble of the experiment.

    Raises
    ------
    ConfigError
        If the weights belong to other classes, modalities or preparation, or memory runs out.
    StaleError
        If subjects were prepared with other settings, or `predict.precision: auto` means another precision than on the
        device that other subjects of this model were predicted on.
    """
    layout = experiment.layout(results)
    method = method_of_experiment(experiment, model, results)
    step = predict_step(experiment, model, layout, method)
    names = list(step.fingerprints)
    forward: Forward | None = None
    if not all(step.is_done(names[index]) for index in part.of(len(names))):
        _agree_on_precision(experiment, layout.step("predict", model) / "precision" / f"{method.fingerprint}.json")
        forward = load_forward(method.models, experiment.predict)

    def work(name: str) -> None:
        assert forward is not None
        predict_subject(
            open_subject(layout, name, experiment.classes),
            method,
            forward,
            layout.probabilities(model, name),
            experiment.prepare,
            step.fingerprints[name],
        )

    step.run(part, work, restart=restart)


def _agree_on_precision(experiment: ClassesExperiment, path: Path) -> None:
    """All subjects of a model have the precision of the first slice that began; `auto` may mean another elsewhere."""
    ours = precision_of(experiment.predict)
    theirs = markers.claim(path, ours) if experiment.predict.precision == "auto" else ours
    if ours != theirs:
        raise StaleError(
            f"{path}: other subjects were predicted in {theirs}, but predict.precision: auto means {ours} on this device; use the device of the others, or set predict.precision to predict afresh"
        )


def predict_step(experiment: ClassesExperiment, model: str, layout: Layout, method: Method) -> Subjectwise:
    """The step over all subjects that a model predicts."""
    settings = experiment.prepare.model_dump(mode="json", include={"chunk", "shard"})
    fingerprints = {
        name: markers.fingerprint(
            "predict",
            VERSIONS["predict"],
            method.fingerprint,
            experiment.predict.precision,
            settings,
            check_prepared(experiment, layout, name),
        )
        for name in experiment.predicted(model)
    }

    def made(name: str) -> list[Place]:
        return [layout.probabilities(model, name)]

    return Subjectwise("predict", layout.step("predict", model), fingerprints, made)


def method_of_experiment(experiment: ClassesExperiment, model: str, results: Path) -> Method:
    """The networks of a model or ensemble, after checking that they were trained for this experiment."""
    if model not in experiment.predictors():
        raise ConfigError(f"--model {model}: the experiment has {', '.join(experiment.predictors())}")
    members = experiment.ensembles().get(model, [model])
    models = [read_class_model(experiment.variant(member).model_weights(results, member)) for member in members]
    for one in models:
        check_trained_for(one, experiment.classes, experiment.modalities, experiment.prepare)
    return method_of(models, experiment.predict)
