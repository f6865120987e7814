"""torchvision, imported so that it also works beside a CPU-only torch.

PyPI's Linux wheel of torchvision is built for CUDA and stops on import beside a CPU-only torch of the same version: the
schemas of two operators are missing, because the library that defines them links CUDA's. Nothing in this project calls
them; defining the schemas lets the import go through. A mismatch beside a GPU build of torch is not hidden.
"""

import sys

import torch

__all__ = ["torchvision"]

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error) or torch.version.cuda or torch.version.hip:
        raise
    for name in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _schemas = torch.library.Library("torchvision", "FRAGMENT")
    _schemas.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _schemas.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
