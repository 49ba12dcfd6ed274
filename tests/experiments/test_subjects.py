"""Subjects are found as the table or the patterns say, and what cannot be used is refused in one line with the mend."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from sepvox.errors import ConfigError
from sepvox.experiments.subjects import SubjectsSettings, read_subjects


def table(folder: Path, text: str | bytes, name: str = "subjects.csv") -> SubjectsSettings:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return SubjectsSettings(table=str(path))


def touched(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def refused(settings: SubjectsSettings, *says: str, group_by: str | None = None) -> None:
    with pytest.raises(ConfigError) as caught:
        read_subjects(settings, group_by)
    message = str(caught.value)
    assert "\n" not in message
    for text in says:
        assert text in message, message


def test_table_gives_files_labels_groups_roles_and_further_columns(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_SCANS", "/data/scans")
    monkeypatch.setenv("HOME", "/home/me")
    text = (
        "subject,image_T1w,image_FLAIR,labels,group,split,site\n"
        "b,b/t1.nii.gz,${SOME_SCANS}/b.nii,b/seg.nii.gz,p1,train,one\n"
        "a,/elsewhere/t1.mgz,$SOME_SCANS/a.nii,,,apply,two\n"
        "c,../c t1.nii.gz,~/c.nii,c.nii.gz,p3,,one\n"
    )
    b, a, c = read_subjects(table(tmp_path, text))
    assert (b.name, b.group, b.role, b.columns) == ("b", "p1", "train", {"group": "p1", "site": "one"})
    assert b.images == {"T1w": tmp_path / "b/t1.nii.gz", "FLAIR": Path("/data/scans/b.nii")}
    assert b.labels == tmp_path / "b/seg.nii.gz"
    assert (a.labels, a.group, a.role) == (None, "a", "apply")
    assert list(a.images.values()) == [Path("/elsewhere/t1.mgz"), Path("/data/scans/a.nii")]
    assert list(c.images.values()) == [tmp_path / "../c t1.nii.gz", Path("/home/me/c.nii")]
    assert c.role is None


def test_tabs_separate_where_the_name_ends_in_tsv(tmp_path):
    (found,) = read_subjects(table(tmp_path, "subject\timage\ts, x\na\tscan, 1.nii\ty\n", "subjects.TSV"))
    assert found.images == {"image": tmp_path / "scan, 1.nii"}
    assert found.columns == {"s, x": "y"}


def test_quotes_byte_order_mark_line_ends_blanks_and_empty_lines_of_spreadsheets_are_read(tmp_path):
    plain = 'subject,image,labels\na,"scans, old/a.nii.gz",a.nii\nb,"say ""b"".nii",\n'
    saved = '\ufeffsubject, image ,labels\r\n\r\na,"scans, old/a.nii.gz",a.nii \r\n,,\r\n b,"say ""b"".nii",\r\n , ,\r\n\r\n'
    expected = read_subjects(table(tmp_path, plain))
    assert expected[0].images["image"] == tmp_path / "scans, old/a.nii.gz"
    assert expected[1].images["image"] == tmp_path / 'say "b".nii'
    assert read_subjects(table(tmp_path, saved)) == expected


def test_lines_are_counted_as_editors_count_them(tmp_path):
    refused(
        table(tmp_path, "subject,image\n\na,a.nii\n,\nb,b.nii,x\n"), "line 5: has 3 cells, but the first line has 2"
    )
    refused(table(tmp_path, 'subject,image\n"a","a.nii"\nb,\n'), "line 3: subject b has no image; give the file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["has the columns none", "expected subject and image"]),
        ("subject,image\n", ["has no row; add one per subject"]),
        ("subject,image\n\n,\n", ["has no row"]),
        ("name,image\na,a.nii\n", ["has the columns name, image", "expected subject"]),
        ("subject,labels\na,a.nii\n", ["image_NAME for each modality"]),
        ("subject;image\na;a.nii\n", ["has the columns subject;image"]),
        ("subject,image\na\n", ["line 2: has 1 cells, but the first line has 2"]),
        ("subject,image\na,a.nii,b.nii\n", ["line 2: has 3 cells"]),
        ("subject,image_T1w,image_FLAIR\na,t1.nii,\n", ["line 2: subject a has no FLAIR", "column image_FLAIR"]),
        ("subject,image\n../a,a.nii\n", ["line 2: '../a' cannot be a subject's name", "use letters, digits"]),
        ("subject,image\n,a.nii\n", ["line 2: '' cannot be a subject's name"]),
        ("subject,image\n.a,a.nii\n", ["'.a' cannot be"]),
        ("subject,image\nsub 1,a.nii\n", ["'sub 1' cannot be"]),
        ("subject,image,split\na,a.nii,Test\n", ["line 2: split is 'Test'; expected train, validate, test, apply"]),
        ("subject,image\na,$NOT_SET_ANYWHERE/a.nii\n", ["line 2: environment variable NOT_SET_ANYWHERE is not set"]),
        ("subject,image\na,a.nii\na,b.nii\n", ["subject a stands in 2 lines;", "scans of one person the same group"]),
        (
            "subject,image,split\na,a.nii,train\na,a.nii,test\n",
            ["subject a stands in 2 lines, in the splits test and train"],
        ),
        (
            "subject,image,group,split\na,a.nii,p,train\nb,b.nii,p,test\n",
            ["group p stands in the splits test and train; put all of its subjects into one"],
        ),
        ("subject,image,group,split\na,a.nii,p,test\nb,b.nii,p,\n", ["group p stands in the splits none", "and test"]),
        ("subject,image,image\na,a.nii,b.nii\n", ["two columns are called image;"]),
        ("subject,image,image_image\na,a.nii,b.nii\n", ["two columns are called image_image"]),
        ("subject,split,image,split\na,test,a.nii,\n", ["two columns are called split"]),
        ('subject,image\na,"a.nii\nb,b.nii\n', ["is no table", "expected text in UTF-8"]),
        ("subject,image\nä,a.nii\n".encode("latin-1"), ["is no table"]),
        ("subject,image\na,a.nii\n".encode("utf-16"), ["is no table"]),
    ],
)
def test_bad_tables_are_refused_with_line_and_mend(tmp_path, text, says):
    settings = table(tmp_path, text)
    refused(settings, f"subjects.table: {settings.table}", *says)


def test_a_table_that_is_not_there_or_a_folder_is_refused(tmp_path):
    refused(SubjectsSettings(table=str(tmp_path / "no.csv")), "no.csv: cannot be read (No such file", "check the path")
    refused(SubjectsSettings(table=str(tmp_path)), "cannot be read (Is a directory)")


def test_group_column_is_the_one_that_split_names(tmp_path):
    text = "subject,image,group,site,split\na,a.nii,p,x,test\nb,b.nii,q,x,train\nc,c.nii,q,,train\n"
    settings = table(tmp_path, text)
    assert [s.group for s in read_subjects(settings)] == ["p", "q", "q"]
    refused(settings, "group x stands in the splits test and train", group_by="site")
    refused(settings, "split.group:", "has no column town; it has subject, image, group, site, split", group_by="town")
    other = table(tmp_path, text.replace("b.nii,q,x", "b.nii,q,y"))
    assert [s.group for s in read_subjects(other, "site")] == ["x", "y", "y"]


def test_another_column_never_tears_a_group_apart(tmp_path):
    text = "subject,image,group,site\nv1,1.nii,p1,A\nv2,2.nii,p1,B\nv3,3.nii,p2,B\nv4,4.nii,p3,C\nv5,5.nii,,C\nv6,6.nii,,\n"
    groups = [s.group for s in read_subjects(table(tmp_path, text), "site")]
    assert groups == ["A", "A", "A", "C", "C", "v6"]
    refused(table(tmp_path, text), "split.group: subject is what a subject is made of", group_by="subject")


def test_equal_values_of_different_columns_are_different_groups(tmp_path):
    text = "subject,image,group,site\na,a.nii,1,\nb,b.nii,2,1\nc,c.nii,3,x\n"
    assert [s.group for s in read_subjects(table(tmp_path, text), "site")] == ["group=1", "site=1", "x"]


def test_scans_of_a_person_with_a_name_of_bids_stay_together(tmp_path):
    names = ("sub-01_ses-1", "sub-01_ses-2", "sub-02_run-1", "sub-03", "case_1", "x_ses-1")
    touched(tmp_path, *(f"{name}_T1w.nii" for name in names))
    found = read_subjects(SubjectsSettings(images={"T1w": f"{tmp_path}/*_T1w.nii"}))
    assert {s.name: s.group for s in found} == dict(
        zip(names, ("sub-01", "sub-01", "sub-02", "sub-03", "case_1", "x"), strict=True)
    )
    rows = "".join(f"{name},{name}_T1w.nii\n" for name in names)
    assert {s.name: s.group for s in read_subjects(table(tmp_path, "subject,image\n" + rows))} == {
        s.name: s.group for s in found
    }


def test_a_group_may_have_subjects_that_are_only_applied_to(tmp_path):
    text = "subject,image,group,split\na,a.nii,p,train\nb,b.nii,p,apply\n"
    assert [s.role for s in read_subjects(table(tmp_path, text))] == ["train", "apply"]


def test_every_star_of_a_pattern_stands_for_the_same_name(tmp_path):
    touched(
        tmp_path,
        *(
            f"bids/sub-{name}/anat/sub-{name}_{kind}.nii.gz"
            for name in ("02", "01")
            for kind in ("T1w", "FLAIR", "seg")
        ),
        "bids/sub-01/anat/sub-02_T1w.nii.gz",
        "bids/sub-01/anat/.sub-01_T1w.nii.gz",
    )
    pattern = f"{tmp_path}/bids/sub-*/anat/sub-*_%s.nii.gz"
    settings = SubjectsSettings(images={kind: pattern % kind for kind in ("T1w", "FLAIR")}, labels=pattern % "seg")
    first, second = read_subjects(settings)
    assert (first.name, second.name) == ("01", "02")
    assert list(first.images) == ["T1w", "FLAIR"]
    assert first.images["FLAIR"] == tmp_path / "bids/sub-01/anat/sub-01_FLAIR.nii.gz"
    assert first.labels == tmp_path / "bids/sub-01/anat/sub-01_seg.nii.gz"
    assert (first.group, first.role) == ("01", None)


def test_only_stars_are_special_in_a_pattern(tmp_path):
    touched(tmp_path, "scans [1]+(new)/what?/a.nii", "scans [1]+(new)/what?/b.nii", "scans [1]+(new)/whatx/c.nii")
    found = read_subjects(SubjectsSettings(images={"T1w": f"{tmp_path}/scans [1]+(new)/what?/*.nii"}))
    assert [subject.name for subject in found] == ["a", "b"]


def test_a_name_is_not_cut_short_by_a_suffix_that_it_contains(tmp_path):
    touched(tmp_path, "a_seg.nii.gz", "a.nii.nii.gz", "a.nii.gz")
    found = read_subjects(SubjectsSettings(images={"T1w": f"{tmp_path}/*.nii.gz"}))
    assert [subject.name for subject in found] == ["a", "a.nii", "a_seg"]


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (["t1/*.nii", "t2/*.nii"], None, ["subjects.images.t2: subject b has no file", "t2/b.nii", "narrower pattern"]),
        (["t2/*.nii", "t1/*.nii"], None, ["subjects.images.t2: subject b has no file"]),
        (["t1/*.nii"], "seg/*.nii", ["subjects.labels: subject b has no file", "seg/b.nii", "split apply"]),
        (["none/*.nii"], None, ["subjects.images.none:", "no file matches", "check folder and pattern"]),
        (["t1/*.nii"], "none/*.nii", ["subjects.labels:", "no file matches"]),
        (["t1/*/*.nii"], None, ["no file matches with the same name for every * (of ", "t1/a/b.nii they differ)"]),
        (["odd/*.nii"], None, ["subjects.images.odd: 'c d' cannot be a subject's name"]),
    ],
)
def test_patterns_that_miss_files_name_modality_subject_and_file(tmp_path, images, labels, says):
    touched(tmp_path, "t1/a.nii", "t1/b.nii", "t2/a.nii", "seg/a.nii", "t1/a/b.nii", "odd/c d.nii")
    patterns = {pattern.partition("/")[0]: f"{tmp_path}/{pattern}" for pattern in images}
    refused(SubjectsSettings(images=patterns, labels=labels and f"{tmp_path}/{labels}"), *says)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("*.nii.gz", "*_dseg.nii.gz"),
        ("sub-*/anat/*.nii.gz", "sub-*/anat/sub-*_dseg.nii.gz"),
        ("*_dseg.nii.gz", "*_dseg.nii.gz"),
    ],
)
def test_an_image_pattern_that_also_matches_label_files_is_refused_with_one_of_them(tmp_path, image, label):
    for name in ("01", "02"):
        touched(tmp_path, *(f"sub-{name}/anat/sub-{name}{kind}.nii.gz" for kind in ("_T1w", "_dseg")))
        touched(tmp_path, *(f"{name}{kind}.nii.gz" for kind in ("", "_dseg")))
    settings = SubjectsSettings(images={"T1w": f"{tmp_path}/{image}"}, labels=f"{tmp_path}/{label}")
    named = f"{tmp_path}/{label.replace('*', '01')};"
    refused(settings, f"subjects.images.T1w: {tmp_path}/{image} also matches the label file {named}", "narrow it")


def test_a_label_pattern_may_also_match_images_of_its_subjects(tmp_path):
    touched(tmp_path, *(f"{name}{kind}.nii" for name in "ab" for kind in ("", "_T1w")))
    found = read_subjects(SubjectsSettings(images={"T1w": f"{tmp_path}/*_T1w.nii"}, labels=f"{tmp_path}/*.nii"))
    assert [subject.labels for subject in found] == [tmp_path / "a.nii", tmp_path / "b.nii"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give exactly one of `table`, `images` and `phantom`"),
        ({"table": "a.csv", "images": {"T1w": "*.nii"}}, "give exactly one"),
        ({"table": "a.csv", "labels": "*.nii"}, "`labels` belongs to `images`"),
        ({"images": {}}, "`images` names no modality"),
        ({"images": {"T1w": "scan.nii"}}, r"scan.nii: has no \* that stands for the subject's name"),
        ({"images": {"T1w": "*.nii"}, "labels": "seg.nii"}, r"seg.nii: has no \*"),
    ],
)
def test_one_source_of_subjects_is_given(given, says):
    with pytest.raises(ValidationError, match=says):
        SubjectsSettings.model_validate(given)


def test_a_phantom_has_as_many_subjects_as_asked_for():
    found = read_subjects(SubjectsSettings.model_validate({"phantom": {"subjects": 11}}))
    assert [found[0].name, found[-1].name] == ["head-01", "head-11"]
    assert len({subject.group for subject in found}) == 11
