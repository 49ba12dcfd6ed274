"""No group is torn apart, every group is tested once, and what is reported was never used to choose anything."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepvox.errors import ConfigError
from sepvox.experiments.split import SplitSettings, roles_of
from sepvox.experiments.subject import Subject

# Sizes of the groups.
SIZES = st.lists(st.integers(1, 5), min_size=2, max_size=14)
SEEDS = st.integers(0, 2**31)
FRACTIONS = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.34, 0.5, 0.8])


def people(sizes, role=None, prefix="g"):
    """Subjects in groups of these sizes, no two of a group side by side."""
    return [
        Subject(f"{prefix}{group}-{number}", {}, None, f"{prefix}{group}", role)
        for number in range(max(sizes, default=0))
        for group, size in enumerate(sizes)
        if number < size
    ]


def groups_by_role(subjects, roles):
    found = {}
    for subject in subjects:
        found.setdefault(roles[subject.name], set()).add(subject.group)
    return found


def check_whole_groups(subjects, roles):
    assert list(roles) == [subject.name for subject in subjects]
    by_role = list(groups_by_role(subjects, roles).values())
    assert sum(map(len, by_role)) == len(set().union(*by_role)), "a group is in two parts"


@given(SIZES, FRACTIONS, FRACTIONS, SEEDS)
def test_fractions_are_parts_of_the_groups(sizes, test, validation, seed):
    subjects = people(sizes)
    roles = roles_of(subjects, SplitSettings(test=test, validation=validation, seed=seed), None)
    check_whole_groups(subjects, roles)
    found = groups_by_role(subjects, roles)
    tested, validated = len(found.get("test", ())), len(found.get("validate", ()))
    assert len(found["train"]) >= 1
    assert (tested > 0) == (test > 0)
    if validation == 0:
        assert validated == 0
    elif len(sizes) - tested > 1:
        assert validated >= 1
    if test:
        assert abs(tested - test * len(sizes)) <= 1
    assert abs(validated - validation * (len(sizes) - tested)) <= 1


@given(SIZES, st.integers(2, 14), FRACTIONS, SEEDS)
def test_every_group_is_tested_in_exactly_one_fold(sizes, folds, validation, seed):
    subjects = people(sizes)
    settings = SplitSettings(folds=folds, validation=validation, seed=seed)
    if folds > len(sizes):
        with pytest.raises(ConfigError, match=rf"split.folds: {folds} folds of .*; ask for at most {len(sizes)}"):
            roles_of(subjects, settings, 0)
        return
    tested = Counter()
    for fold in range(folds):
        roles = roles_of(subjects, settings, fold)
        check_whole_groups(subjects, roles)
        found = groups_by_role(subjects, roles)
        assert found["train"]
        assert found["test"], "a fold tests nothing"
        tested.update(found["test"])
    assert set(tested.values()) == {1}
    assert len(tested) == len(sizes)


@given(st.lists(st.just(1), min_size=4, max_size=14), st.integers(2, 4), SEEDS)
def test_folds_of_equal_groups_differ_by_one_at_most(sizes, folds, seed):
    settings = SplitSettings(folds=folds, seed=seed)
    counts = [list(roles_of(people(sizes), settings, fold).values()).count("test") for fold in range(folds)]
    assert max(counts) - min(counts) <= 1


@given(SIZES, st.sampled_from([None, 2]), SEEDS)
def test_the_same_seed_divides_alike_whatever_the_order_of_the_subjects(sizes, folds, seed):
    subjects = people([1] * len(sizes))
    settings = SplitSettings(folds=folds, seed=seed)
    fold = None if folds is None else 1
    roles = roles_of(subjects, settings, fold)
    assert roles_of(subjects, settings, fold) == roles
    assert roles_of(subjects[::-1], settings, fold) == roles


def test_another_seed_divides_otherwise():
    subjects = people([1] * 12)
    found = {tuple(roles_of(subjects, SplitSettings(seed=seed), None).values()) for seed in range(8)}
    assert len(found) > 4


@given(SIZES, st.sampled_from([None, 2, 3]), SEEDS)
def test_the_table_is_respected(sizes, folds, seed):
    given_roles = [*people([2, 1], "train", "t"), *people([1], "test", "h"), *people([2], "apply", "a")]
    free = people([*sizes, 1])
    subjects = [*given_roles[:3], *free, *given_roles[3:]]
    for fold in [None] if folds is None else range(folds):
        roles = roles_of(subjects, SplitSettings(folds=folds, seed=seed), fold)
        assert all(roles[subject.name] == subject.role for subject in given_roles)
        check_whole_groups(subjects, roles)


@given(SIZES, st.sampled_from([None, 2]), SEEDS)
def test_a_given_validation_part_is_enough(sizes, folds, seed):
    chosen_on = people([1], "validate", "v")
    roles = roles_of([*people(sizes), *chosen_on], SplitSettings(folds=folds, seed=seed), None if folds is None else 0)
    assert [name for name, role in roles.items() if role == "validate"] == ["v0-0"]


def test_folds_choose_on_different_subjects():
    subjects = people([1] * 20)
    settings = SplitSettings(folds=5, validation=0.1)
    chosen = set()
    for fold in range(5):
        chosen.update(name for name, role in roles_of(subjects, settings, fold).items() if role == "validate")
    assert len(chosen) > 5


def test_nothing_left_to_train_on_or_to_divide_is_refused():
    with pytest.raises(ConfigError, match=r"^split: no subject is left to train on; lower [^\n]*$"):
        roles_of(people([1, 1], "test"), SplitSettings(), None)
    with pytest.raises(ConfigError, match=r"^split.folds: 3 folds of the 0 groups .*; remove split.folds$"):
        roles_of(people([1, 1], "train"), SplitSettings(folds=3), 0)
    assert set(roles_of(people([3]), SplitSettings(), None).values()) == {"train"}
