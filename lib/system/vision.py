"""torchvision, made importable beside a CPU-only torch: `import torchvision` works once this file was imported.

PyPI's Linux wheel of torchvision is built for CUDA and stops on import beside a CPU-only torch of the same version: the
schemas of two operators are missing, because the library that defines them links CUDA's. Nothing in this project calls
them; defining the schemas lets the import go through. torchvision itself, which takes a second, is not imported here. A
mismatch beside a GPU build of torch is not hidden.
"""

import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
from importlib.util import find_spec

import torch


def __getattr__(name: str):
    if name != "torchvision":
        raise AttributeError(name)
    import torchvision

    return torchvision


def _lacks_its_library() -> bool:
    """Whether torchvision is there, and its library of operators cannot be loaded."""
    if "torchvision" in sys.modules or not (package := find_spec("torchvision")):
        return False
    folder = package.submodule_search_locations[0]
    library = FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES)).find_spec("_C")
    try:
        torch.ops.load_library(library.origin)
    except (AttributeError, OSError):  # there is none, or it links what is not there
        return True
    return False


if not (torch.version.cuda or torch.version.hip) and _lacks_its_library():
    _schemas = torch.library.Library("torchvision", "FRAGMENT")
    _schemas.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _schemas.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
