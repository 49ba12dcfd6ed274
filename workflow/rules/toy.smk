"""Toy approximation (Gonda et al. 2018, supplement, Section 2): `snakemake --cores N study_toy`, beside any experiment."""

from sepvox.studies.toy_approximation.settings import STUDENTS, read_study

TOY = study_settings("toy", read_study)
TOY_LAYOUT = Layout(RESULTS / TOY.experiment)
STUDY_RESULTS["study_toy"] = f"Findings:       {TOY_LAYOUT.study('findings.txt')}, curves.png and table.csv beside it"


rule toy_student:
    output:
        TOY_LAYOUT.metrics("{student}-seed{seed}"),
        TOY_LAYOUT.done("toy", "{student}-seed{seed}"),
    log:
        TOY_LAYOUT.log("toy", "{student}-seed{seed}"),
    benchmark:
        TOY_LAYOUT.benchmark("toy", "{student}-seed{seed}")
    wildcard_constraints:
        student="|".join(student.name for student in STUDENTS),
        seed=r"\d+",
    # Small networks gain little from a second core; two students side by side do.
    threads: 1
    resources:
        mem_mb=8000,
        runtime="24h",
    params:
        study=study_arguments("toy"),
        settings=TOY.learned(),
        version=VERSIONS["toy"],
    shell:
        "sepvox study toy {params.study} --student {wildcards.student} --seed {wildcards.seed} --restart 2>&1 | tee {log:q}"


rule study_toy:
    input:
        [TOY_LAYOUT.metrics(f"{student.name}-seed{seed}") for student in STUDENTS for seed in TOY.seeds],
        [TOY_LAYOUT.done("toy", f"{student.name}-seed{seed}") for student in STUDENTS for seed in TOY.seeds],
    output:
        TOY_LAYOUT.study("summary.json"),
        TOY_LAYOUT.study("table.csv"),
        TOY_LAYOUT.study("findings.txt"),
        TOY_LAYOUT.study("curves.svg"),
        report(
            TOY_LAYOUT.study("curves.png"),
            caption="../report/toy.rst",
            category="Studies",
            labels={"shows": "toy approximation"},
        ),
    log:
        TOY_LAYOUT.log("toy", "report"),
    benchmark:
        TOY_LAYOUT.benchmark("toy", "report")
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        study=study_arguments("toy"),
        settings=TOY.model_dump(mode="json", exclude={"train": {"device"}}),
        version=VERSIONS["toy"],
    shell:
        "sepvox study toy {params.study} --report 2>&1 | tee {log:q}"
