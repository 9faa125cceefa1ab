"""XMem: masks of several objects propagated through a clip by three memories (Cheng and Schwing, ECCV 2022)."""

from tam_edit.models.xmem.network import Network, load, manifest
from tam_edit.models.xmem.settings import MemorySettings
from tam_edit.models.xmem.tracker import Tracker
from tam_edit.models.xmem.trust import XMemTrust

__all__ = ["MemorySettings", "Network", "Tracker", "XMemTrust", "load", "manifest"]
