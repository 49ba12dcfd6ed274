"""Models of one experiment: their names, what each has of its own, and which of them predicts whom."""

from pathlib import Path

import pytest

from sepvox.config import parse
from sepvox.errors import ConfigError, InputError

HERE = Path("/some/where/experiment.yaml")
TRAIN = {"patch": [16, 16, 16], "batch": 2, "iterations": 10}


def classes(**changes):
    document = {
        "experiment": "heads",
        "task": "classes",
        "subjects": {"phantom": {"subjects": 6}},
        "classes": {"csf": 1, "grey": 2},
        "network": {"width": 4, "depth": 2},
        "train": TRAIN,
    }
    return parse(document | changes, HERE)


def neurons(**changes):
    document = {
        "experiment": "cells",
        "volumes": {
            "a": {"role": "train", "phantom": {"shape": [64, 64, 64]}},
            "b": {"role": "validate", "phantom": {"shape": [64, 64, 64]}},
        },
        "network": {"width": 4, "depth": 2},
        "train": {"patch": [32, 32, 32], "augment": {"noise": 0.5, "blur": 0.5}},
    }
    return parse(document | changes, HERE)


def with_table(folder: Path, rows: str, **changes):
    (folder / "table.csv").write_text("subject,image,labels,group,split\n" + rows)
    return classes(subjects={"table": str(folder / "table.csv")}, **changes)


FOUR = "".join(f"s{n},s{n}.nii,l{n}.nii,g{n // 2},\n" for n in range(8))
HELD_OUT = "held,h.nii,h-l.nii,,test\nnew,n.nii,,,apply\n"


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["main"]),
        ({"split": {"folds": 3}}, ["fold0", "fold1", "fold2"]),
        ({"split": {"folds": 3, "run": [2, 0]}}, ["fold2", "fold0"]),
        ({"seeds": [4, 7]}, ["seed4", "seed7"]),
        ({"models": {"p": {}, "d": {}}}, ["p", "d"]),
        (
            {"models": {"p": {}, "p-seed1": {}}, "seeds": [1], "split": {"folds": 2}},
            ["p-seed1-fold0", "p-seed1-fold1", "p-seed1-seed1-fold0", "p-seed1-seed1-fold1"],
        ),
    ],
)
def test_names_tell_entry_seed_and_fold(changes, names):
    experiment = classes(**changes)
    assert list(experiment.runs()) == names
    assert experiment.predictors() == names
    assert all(run.model == name for name, run in experiment.runs().items())


@pytest.mark.parametrize("experiment", [classes, neurons])
def test_a_model_has_its_own_keys_and_the_others_of_all(experiment):
    models = {
        "dense": {"network": {"block": "dense"}, "train": {"augment": {"noise": 0.0}, "learning_rate": 0.1}},
        "plain": {},
    }
    found = experiment(models=models, seeds=[3, 5])
    dense = found.variant("dense-seed3")
    assert (dense.network.block, dense.network.width) == ("dense", 4)
    assert (dense.train.seed, dense.train.learning_rate) == (3, 0.1)
    assert dense.train.augment.noise == 0.0
    assert dense.train.augment.blur == found.train.augment.blur
    assert dense.train.patch == found.train.patch
    plain = found.variant("plain-seed5")
    assert plain.network == found.network
    assert plain.train == found.train.model_copy(update={"seed": 5})
    assert dense.variant("dense-seed3") == dense


def test_how_long_a_model_trains_is_what_it_says_itself():
    found = classes(
        train={"preset": "gonda2018"},
        models={"paper": {}, "short": {"train": {"iterations": 9}}, "long": {"train": {"epochs": 70}}},
    )
    assert (found.variant("paper").train.epochs, found.variant("long").train.epochs) == (50, 70)
    assert (found.variant("short").train.epochs, found.variant("short").train.iterations) == (None, 9)
    assert found.variant("short").train.learning_rate == 1e-5


@pytest.mark.parametrize("experiment", [classes, neurons])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"models": {"a": {"network": {"widht": 8}}}},
            r"models\.a\.network\.widht: unknown key; did you mean `width`\?",
        ),
        (
            {"models": {"a": {}, "b": {"train": {"augment": {"nois": 1}}}}},
            r"models\.b\.train\.augment\.nois: unknown key; did you mean `noise`\?",
        ),
        ({"models": {"a": {"network": {"width": "wide"}}}}, r"models\.a\.network\.width: .*integer.*, got 'wide'"),
        ({"models": {"a": {"network": {"m": 9}}}}, r"models\.a\.network\.m: .*less than or equal to 3, got 9"),
        ({"models": {"a": {"netwrok": {}}}}, r"models\.a\.netwrok: unknown key; did you mean `network`\?"),
        ({"models": {"a/b": {}}}, r"models\.a/b.*pattern"),
        ({"models": {"a": {"network": {"pooling": [[2, 2, 2]]}}}}, r"models\.a\.network: pooling has 1 entries"),
        (
            {"train": None, "network": {"weights": "w"}, "models": {"a": {"train": {"seed": 1}}}},
            r"models\.a\.train: nothing is trained without a `train` section",
        ),
        ({"train": None, "network": {"weights": "w"}, "seeds": [1]}, r"seeds: nothing is trained without a `train`"),
        ({"train": None, "models": {"a": {"network": {}}}}, r"nothing to predict with: add a `train` section"),
        ({"train": None}, r"nothing to predict with: add a `train` section"),
        ({"seeds": [1, 2, 1]}, r"seeds: \[1, 2, 1\] has one twice"),
        ({"seeds": [-1]}, r"seeds\.0: .*greater than or equal to 0, got -1"),
        ({"seeds": 3}, r"seeds: .*tuple"),
    ],
)
def test_bad_keys_of_a_model_are_named_with_their_path(experiment, changes, says):
    with pytest.raises(ConfigError, match=says) as caught:
        experiment(**changes)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{HERE}: ")


@pytest.mark.parametrize("experiment", [classes, neurons])
def test_an_unknown_model_is_refused_with_those_there_are(experiment):
    found = experiment(seeds=[1, 2])
    with pytest.raises(ConfigError, match=r"^--model main: the experiment has seed1, seed2$"):
        found.variant("main")


def test_roles_of_an_unknown_model_are_refused(tmp_path):
    found = with_table(tmp_path, FOUR + HELD_OUT, split={"folds": 2})
    for model in ("main", "fold2", "x-ensemble"):
        with pytest.raises(ConfigError, match=rf"^--model {model}: the experiment has fold0, fold1, ensemble$"):
            found.roles(model)


@pytest.mark.parametrize("experiment", [classes, neurons])
def test_each_model_may_be_given_weights_relative_to_the_file(experiment):
    found = experiment(
        train=None,
        models={"a": {"network": {"weights": "a/w.safetensors"}}, "b": {"network": {"weights": "/b/w"}}},
        network={},
    )
    results = Path("results")
    assert found.model_weights(results, "a") == Path("/some/where/a/w.safetensors")
    assert found.model_directory(results, "b") == Path("/b")
    trained = experiment()
    assert trained.model_directory(results, "main") == results / trained.experiment / "models/main"
    assert trained.model_weights(results, "main").parent == trained.model_directory(results, "main")


@pytest.mark.parametrize("seeds", [[], [1, 2]])
@pytest.mark.parametrize("models", [{}, {"a": {}, "b": {}}])
@pytest.mark.parametrize("held_out", ["", HELD_OUT])
def test_cross_validation_tests_every_subject_by_exactly_one_model_of_an_entry(tmp_path, seeds, models, held_out):
    found = with_table(tmp_path, FOUR + held_out, split={"folds": 3, "validation": 0.3}, seeds=seeds, models=models)
    pools = max(1, len(seeds)) * max(1, len(models))
    assert len(found.runs()) == 3 * pools
    tests = {name: [] for name in found.people}
    for model in found.predictors():
        roles, predicted = found.roles(model), found.predicted(model)
        for name in predicted:
            if roles[name] in ("test", "apply"):
                tests[name].append(model)
        chosen_on = found.named(model, "validate")
        assert set(chosen_on) <= set(predicted), "the clean-up is chosen on predictions"
        assert not set(found.named(model, "train")) & set(predicted)
    assert {len(models_of) for models_of in tests.values()} == {pools}
    entries = {name: {model.rpartition("fold")[0] for model in models_of} for name, models_of in tests.items()}
    ensembles = found.ensembles()
    if held_out:
        assert len(ensembles) == pools
        assert tests["held"] == tests["new"] == list(ensembles)
        assert sorted(model for members in ensembles.values() for model in members) == sorted(found.runs())
        assert all(found.is_ensemble(name) for name in ensembles)
        assert found.roles(next(iter(ensembles))) == {"held": "test", "new": "apply"}
    else:
        assert not ensembles
    assert all(len(entries[f"s{n}"]) == pools for n in range(8))


def test_ensembles_are_the_folds_of_one_entry_and_seed(tmp_path):
    split = {"folds": 2}
    found = with_table(tmp_path, FOUR + HELD_OUT, split=split, seeds=[1, 2], models={"a": {}})
    assert found.ensembles() == {
        "a-seed1-ensemble": ["a-seed1-fold0", "a-seed1-fold1"],
        "a-seed2-ensemble": ["a-seed2-fold0", "a-seed2-fold1"],
    }
    assert with_table(tmp_path, FOUR + HELD_OUT, split=split).ensembles() == {"ensemble": ["fold0", "fold1"]}
    assert with_table(tmp_path, FOUR + HELD_OUT).ensembles() == {}


def test_without_folds_one_model_predicts_all_that_it_did_not_learn_from(tmp_path):
    found = with_table(tmp_path, FOUR + HELD_OUT, split={"test": 0.25, "validation": 0.3})
    assert found.predictors() == ["main"]
    assert sorted([*found.predicted("main"), *found.named("main", "train")]) == sorted(found.people)
    assert {"held", "new"} <= set(found.predicted("main"))


def test_given_weights_are_applied_to_all_subjects_and_tested_where_there_is_truth(tmp_path):
    found = with_table(tmp_path, FOUR + HELD_OUT, train=None, network={"weights": "w"}, split={"folds": 2})
    assert found.predictors() == ["main"]
    assert found.predicted("main") == list(found.people)
    assert found.named("main", "apply") == ["new"]
    assert len(found.named("main", "test")) == 9


def test_given_weights_are_not_tested_on_what_the_table_says_is_for_training(tmp_path):
    rows = "a,a.nii,l.nii,,train\nb,b.nii,l.nii,,validate\nc,c.nii,l.nii,,\nd,d.nii,l.nii,,apply\n"
    found = with_table(tmp_path, rows, train=None, network={"weights": "w"})
    assert found.roles("main") == {"a": "train", "b": "validate", "c": "test", "d": "apply"}
    assert found.predicted("main") == ["b", "c", "d"]


def test_a_subject_without_labels_is_refused_where_it_would_be_learned_from(tmp_path):
    rows = "".join(f"s{n},s{n}.nii,,,\n" for n in range(4))
    with pytest.raises(
        InputError, match=r"^subject s\d: has no labels, but its role is (train|validate); give [^\n]*$"
    ):
        with_table(tmp_path, rows).roles("main")
    found = with_table(tmp_path, rows, train=None, network={"weights": "w"})
    assert set(found.roles("main").values()) == {"apply"}


def test_modalities_are_the_columns_in_their_order(tmp_path):
    (tmp_path / "two.csv").write_text("subject,image_FLAIR,labels,image_T1w\na,f.nii,l.nii,t.nii\nb,f,l,t\n")
    found = classes(subjects={"table": str(tmp_path / "two.csv")})
    assert found.modalities == ("FLAIR", "T1w")
    assert classes(subjects={"phantom": {"contrasts": ["T2w", "T1w"]}}).modalities == ("T2w", "T1w")
