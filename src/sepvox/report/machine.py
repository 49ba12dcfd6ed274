"""The software and the machine that a report was made with."""

import os
import platform
from importlib import metadata
from pathlib import Path

import sepvox

PACKAGES = (
    "torch",
    "monai",
    "zarr",
    "waterz",
    "bioimage-cpp",
    "scikit-image",
    "numba",
    "numpy",
    "scipy",
    "snakemake",
    "matplotlib",
)


def versions() -> dict[str, str]:
    """Versions of Python, sepvox and the packages that results depend on."""
    found = {"python": platform.python_version(), "sepvox": sepvox.__version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware() -> dict[str, str]:
    """Processor, cores, memory and operating system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
