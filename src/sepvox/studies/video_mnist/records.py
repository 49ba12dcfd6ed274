"""What is kept of a training, and how it is known to belong to the study's present settings.

models/{unit}/config.json      the network, its learning rate, and which epoch was chosen; `fingerprint` is of all that the
                               weights depend on.
outputs/{unit}/accuracy.json   accuracy on test videos; `fingerprint` is of weights and test videos.
learning_rates.json            the chosen rates, by network and number of training videos.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sepvox import markers
from sepvox.errors import StaleError, StoreError
from sepvox.layout import Layout
from sepvox.studies.video_mnist.clips import Split
from sepvox.studies.video_mnist.make import made_videos
from sepvox.studies.video_mnist.published import Network
from sepvox.studies.video_mnist.settings import TableSettings, VideoMnistStudy
from sepvox.studies.video_mnist.units import Unit, candidate_units, chosen_at
from sepvox.versions import VERSIONS

TRAIN = "video-mnist-train"
CHOOSE = "video-mnist-choose"
_VERB = "sepvox study video-mnist"


@dataclass(frozen=True)
class Records:
    """The finished units of one study.

    Attributes
    ----------
    study : VideoMnistStudy
        Its settings.
    layout : Layout
        Where its results are.
    """

    study: VideoMnistStudy
    layout: Layout

    @cached_property
    def table(self) -> TableSettings:
        """Settings of the trainings."""
        return self.study.with_table()

    @cached_property
    def _videos(self) -> dict[Split, str]:
        """Fingerprints of the stored videos."""
        return made_videos(self.study.videos, self.layout)

    def rate(self, unit: Unit) -> float:
        """The learning rate that a unit begins with.

        Raises
        ------
        StoreError
            If it was to be chosen and was not yet.
        StaleError
            If it was chosen with other settings.
        """
        rates = self.table.train.rates(unit.network)
        if unit.rate is not None:
            return unit.rate
        if len(rates) == 1:
            return rates[0]
        count = chosen_at(self.table, unit.network, unit.videos)
        return float(self._chosen[unit.network][str(count)])

    @cached_property
    def _chosen(self) -> dict[Network, dict[str, float]]:
        path = self.layout.learning_rates()
        verb = f"`{_VERB} choose`"
        found = markers.read_json(path, "fingerprint", "rates", step=verb)
        if found["fingerprint"] != self.choosing():
            raise StaleError(f"{path}: chosen by trainings with other settings or videos; run {verb} again")
        rates: dict[Network, dict[str, float]] = found["rates"]
        return rates

    def choosing(self) -> str:
        """Fingerprint of what chosen learning rates depend on."""
        trained = [self.trained(unit) for unit in candidate_units(self.table)]
        return markers.fingerprint(CHOOSE, VERSIONS[CHOOSE], trained)

    def trained(self, unit: Unit) -> str:
        """Fingerprint of what the weights of a unit depend on."""
        train = self.table.train
        return markers.fingerprint(
            TRAIN,
            VERSIONS[TRAIN],
            unit.classifier(self.table).name,
            unit.videos,
            unit.seed(self.table),
            self.rate(unit),
            train.model_dump(mode="json", exclude=train.free),
            self._videos["train"],
            self._videos["validation"],
        )

    def tested(self, unit: Unit) -> str:
        """Fingerprint of what the test accuracy of a unit depends on."""
        test = self.table.test
        whole = unit.run < test.whole_runs
        return markers.fingerprint(self.trained(unit), self.table.train.seed, test.videos, whole, self._videos["test"])

    def is_trained(self, unit: Unit) -> bool:
        return markers.is_done(self.layout.model_config(unit.name), self.trained(unit))

    def is_tested(self, unit: Unit) -> bool:
        return self.is_trained(unit) and markers.is_done(self.layout.accuracy(unit.name), self.tested(unit))

    def training(self, unit: Unit) -> dict[str, Any]:
        """What is known of the weights of a unit.

        Raises
        ------
        StoreError
            If it was not trained with these settings.
        """
        path = self.layout.model_config(unit.name)
        if not self.is_trained(unit):
            raise StoreError(f"{path}: {unit.name} is not trained with these settings; run `{_command(unit)}` first")
        found: dict[str, Any] = markers.read_json(path)
        return found

    def test(self, unit: Unit) -> dict[str, Any]:
        """Test accuracy of a unit.

        Raises
        ------
        StoreError
            If it was not trained and tested with these settings.
        """
        path = self.layout.accuracy(unit.name)
        if not self.is_tested(unit):
            raise StoreError(f"{path}: {unit.name} is not tested with these settings; run `{_command(unit)}` first")
        found: dict[str, Any] = markers.read_json(path)
        return found


def _command(unit: Unit) -> str:
    rate = "" if unit.rate is None else f" --rate {unit.rate!r}"
    return f"{_VERB} train CONFIG --videos {unit.videos} --network {unit.network} --run {unit.run}{rate}"
