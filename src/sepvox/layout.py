"""Every path of an experiment, named once.

The *root* is `results/{experiment}`. The *stores*, OME-Zarr, and the markers of their blocks lie there too, or in a place
of their own, on another disk or at an address. Names of volumes and models may be Snakemake wildcards such as "{volume}": paths are
built by joining, so that the workflow and the package share this file.
"""

from dataclasses import dataclass
from pathlib import Path

from sepvox import markers, storage
from sepvox.storage import Place


@dataclass(frozen=True)
class Layout:
    """Paths below the root of one experiment.

    Attributes
    ----------
    root : Path
        `results/{experiment}`.
    elsewhere : Place or None
        What stands for the root in the paths of stores; the root itself where it is None.
    """

    root: Path
    elsewhere: Place | None = None

    @property
    def stores(self) -> Place:
        return self.elsewhere or self.root

    def note(self) -> None:
        """Leave word in the root of where the stores are."""
        path = self.root / "stores.json"
        if self.elsewhere is None:
            path.unlink(missing_ok=True)
        else:
            markers.write_json(path, {"stores": str(self.elsewhere)})

    @classmethod
    def noted(cls, root: Path) -> "Layout":
        """The layout of results of which only the root is known."""
        path = root / "stores.json"
        return cls(root, storage.place(markers.read_json(path, "stores")["stores"]) if path.exists() else None)

    def volume(self, volume: str) -> Path:
        return self.root / "volumes" / volume

    def image(self, volume: str) -> Place:
        return self.stores / "volumes" / volume / "image.zarr"

    def labels(self, volume: str) -> Place:
        return self.stores / "volumes" / volume / "labels.zarr"

    def mask(self, volume: str) -> Place:
        return self.stores / "volumes" / volume / "mask.zarr"

    def made(self, volume: str) -> Place:
        """What the stores of a volume were made from."""
        return self.stores / "volumes" / volume / "made.json"

    def model(self, model: str) -> Path:
        return self.root / "models" / model

    def weights(self, model: str) -> Path:
        return self.model(model) / "best.safetensors"

    def model_config(self, model: str) -> Path:
        return self.model(model) / "config.json"

    def metrics(self, model: str) -> Path:
        return self.model(model) / "metrics.jsonl"

    def threshold(self, model: str) -> Path:
        return self.model(model) / "threshold.json"

    def state(self, model: str) -> Path:
        return self.model(model) / "state"

    def output(self, model: str, volume: str) -> Path:
        return self.root / "outputs" / model / volume

    def output_stores(self, model: str, volume: str) -> Place:
        """Folder of the stores of an output."""
        return self.stores / "outputs" / model / volume

    def affinities(self, model: str, volume: str) -> Place:
        return self.output_stores(model, volume) / "affinities.zarr"

    def fragments(self, model: str, volume: str) -> Place:
        return self.output_stores(model, volume) / "fragments.zarr"

    def segmentation(self, model: str, volume: str, threshold: float | None = None) -> Place:
        """The segmentation at the chosen threshold, or at another one that was asked for."""
        suffix = "" if threshold is None else f"-{threshold:g}"
        return self.output_stores(model, volume) / f"segmentation{suffix}.zarr"

    def region_graph(self, model: str, volume: str) -> Path:
        return self.output(model, volume) / "region_graph"

    def lookup_tables(self, model: str, volume: str) -> Path:
        return self.region_graph(model, volume) / "lookup_tables.npz"

    def sweep(self, model: str, volume: str) -> Path:
        return self.output(model, volume) / "sweep.json"

    def scores(self, model: str, volume: str) -> Path:
        return self.output(model, volume) / "scores.json"

    def source(self, subject: str, name: str) -> Path:
        """A scan that a phantom made, as NIfTI."""
        return self.volume(subject) / f"{name}.nii.gz"

    def class_voxels(self, subject: str) -> Path:
        """Voxels of each class, from which training draws."""
        return self.volume(subject) / "class_voxels.npz"

    def probabilities(self, model: str, subject: str) -> Place:
        return self.output_stores(model, subject) / "probabilities.zarr"

    def native_segmentation(self, model: str, subject: str) -> Path:
        """The class map in the space of the subject's own scan."""
        return self.output(model, subject) / "segmentation.nii.gz"

    def clean_up(self, model: str) -> Path:
        """Which classes keep their largest component only."""
        return self.model(model) / "clean_up.json"

    def summary(self, model: str) -> Path:
        """Scores of all subjects of a model; the table beside it is scores.csv."""
        return self.root / "outputs" / model / "scores.json"

    def summary_table(self, model: str) -> Path:
        return self.root / "outputs" / model / "scores.csv"

    def videos(self, split: str) -> Path:
        return self.root / "videos" / f"{split}.zarr"

    def contact_sheet(self) -> Path:
        """One video of each class, frame by frame."""
        return self.root / "videos" / "contact-sheet.png"

    def learning_rates(self) -> Path:
        """The learning rates that a study chose."""
        return self.root / "learning_rates.json"

    def accuracy(self, model: str) -> Path:
        """Accuracy of a classifier on test videos."""
        return self.root / "outputs" / model / "accuracy.json"

    def video_index(self) -> Path:
        """What was found in folders of videos."""
        return self.root / "videos" / "index.json"

    def result(self, unit: str) -> Path:
        """What a unit of a study, a model that is trained and tested by itself, came to."""
        return self.model(unit) / "result.json"

    def streams(self, network: str) -> Path:
        """What the streams of a network's first layer see."""
        return self.figures() / f"streams-{network}.png"

    def report(self) -> Path:
        return self.root / "report" / "index.html"

    def pooled(self, suffix: str) -> Path:
        """Scores over all subjects of a model's folds."""
        return self.root / "report" / f"scores.{suffix}"

    def comparison(self) -> Path:
        return self.root / "report" / "comparison.csv"

    def comparison_marker(self) -> Path:
        return self.comparison().with_suffix(".json")

    def figures(self) -> Path:
        return self.root / "report" / "figures"

    def study(self, file: str) -> Path:
        """A file of a study's report."""
        return self.root / "report" / file

    def step(self, step: str, *names: str) -> Path:
        """Folder of the markers and locks of a step."""
        return self.root.joinpath("done", step, *names)

    def blocks(self, step: str, *names: str) -> Place:
        """Folder of the markers of a step's blocks, which are where its store is."""
        return self.stores / "/".join(("done", step, *names, "blocks"))

    def done(self, step: str, *names: str) -> Path:
        """Marker of a finished step, slice or part; the last name becomes the file's."""
        return self.step(step, *names[:-1], f"{names[-1]}.json")

    def log(self, step: str, *names: str) -> Path:
        return self.root.joinpath("logs", step, *names[:-1], f"{names[-1]}.log")

    def benchmarks(self) -> Path:
        return self.root / "benchmarks"

    def benchmark(self, step: str, *names: str) -> Path:
        return self.benchmarks().joinpath(step, *names[:-1], f"{names[-1]}.tsv")
