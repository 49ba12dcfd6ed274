"""One integer per step, raised when the step's output changes for the same input and settings.

It is part of every marker's hash and of each rule's parameters, so that results of an older version are made again.
"""

VERSIONS = {
    "prepare": 2,
    "train": 2,
    "predict": 2,
    "fragments": 2,
    "region-graph": 1,
    "agglomerate": 3,
    "relabel": 1,
    "classify": 1,
    "score": 2,
    "choose": 1,
    "report": 3,
    "blocks": 2,
    "compression": 1,
    "video": 2,
    "video-mnist": 1,
    "toy": 1,
    "video-mnist-train": 3,
    "video-mnist-choose": 1,
    "video-mnist-table": 4,
}
