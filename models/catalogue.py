"""Facts of all official weights: file names, addresses, sizes, digests, licences, and what each is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"
_SAM_LICENCE = "https://github.com/facebookresearch/segment-anything/blob/main/LICENSE"
_XMEM = "https://github.com/hkchengrex/XMem/releases/download/v1.0/"
_XMEM_LICENCE = "https://github.com/hkchengrex/XMem/blob/main/LICENSE"
_DRIVE = "https://drive.google.com/uc?id="
_E2FGVI_LICENCE = "https://github.com/MCG-NKU/E2FGVI#license"


@dataclass(frozen=True)
class WeightsEntry:
    """What is known of one official checkpoint.

    `addresses` are tried in order. `size_bytes` and `sha256` (hex) are None where they are not published: they are
    recorded at the first fetch, and `about_bytes` is for people. `sha256_prefix` and `md5_prefix` are known
    beginnings of the digests, where only these are known or to check the rest by.
    """

    key: str
    file_name: str
    addresses: tuple[str, ...]
    about_bytes: int
    licence: str
    licence_address: str
    allows_commercial: bool
    purpose: str
    size_bytes: int | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    md5_prefix: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and (len(self.sha256) != 64 or self.sha256 != self.sha256.lower()):
            raise ValueError(f"{self.key}: a SHA-256 has 64 lower-case hex digits")

    def contradicts(self, sha256: str) -> bool:
        """Whether a file of this SHA-256 certainly is not the official one."""
        return (self.sha256 is not None and sha256 != self.sha256) or (
            self.sha256_prefix is not None and not sha256.startswith(self.sha256_prefix)
        )

    def confirms(self, sha256: str) -> bool:
        """Whether a file of this SHA-256 certainly is the official one (a prefix alone is taken as enough)."""
        return (self.sha256 is not None or self.sha256_prefix is not None) and not self.contradicts(sha256)


def _sam(letter: str, md5_prefix: str, size_bytes: int, sha256: str, purpose: str) -> WeightsEntry:
    # The hex in SAM's file names is the start of the MD5, not of the SHA-256; the full SHA-256 digests below are the
    # ones that micro-sam, 3D Slicer and others check their downloads by.
    name = f"sam_vit_{letter}_{md5_prefix}.pth"
    return WeightsEntry(
        key=f"sam-vit-{letter}",
        file_name=name,
        addresses=(_SAM + name,),
        about_bytes=size_bytes,
        licence="Apache-2.0",
        licence_address=_SAM_LICENCE,
        allows_commercial=True,
        purpose=purpose,
        size_bytes=size_bytes,
        sha256=sha256,
        md5_prefix=md5_prefix,
    )


def _xmem(key: str, name: str, purpose: str) -> WeightsEntry:
    return WeightsEntry(
        key=key,
        file_name=name,
        addresses=(_XMEM + name,),
        about_bytes=250_000_000,
        licence="MIT",
        licence_address=_XMEM_LICENCE,
        allows_commercial=True,
        purpose=purpose,
    )


def _e2fgvi(key: str, name: str, drive_file: str, purpose: str) -> WeightsEntry:
    return WeightsEntry(
        key=key,
        file_name=name,
        addresses=(_DRIVE + drive_file,),
        about_bytes=165_000_000,
        licence="CC BY-NC 4.0",
        licence_address=_E2FGVI_LICENCE,
        allows_commercial=False,
        purpose=purpose,
    )


_ENTRIES = (
    _sam(
        "b",
        "01ec64",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        "masks from points and boxes; the fastest SAM",
    ),
    _sam(
        "l",
        "0b3195",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        "masks from points and boxes; between the two",
    ),
    _sam(
        "h",
        "4b8939",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        "masks from points and boxes; the best SAM, and the slowest",
    ),
    _xmem("xmem", "XMem.pth", "tracking"),
    _xmem(
        "xmem-s012", "XMem-s012.pth", "tracking; trained on static pictures and BL30K too, as Track-Anything uses it"
    ),
    _e2fgvi("e2fgvi", "E2FGVI-CVPR22.pth", "1tNJMTJ2gmWdIXJoHVi5-H504uImUiJW9", "filling at 432x240"),
    _e2fgvi("e2fgvi-hq", "E2FGVI-HQ-CVPR22.pth", "10wGdKSUOie0XmCr8SQ2A2FeDe-mfn5w3", "filling at any size"),
)

WEIGHTS: Mapping[str, WeightsEntry] = MappingProxyType({entry.key: entry for entry in _ENTRIES})

# Which weights serve an engine as users name it (--tracker xmem, --weights sam=FILE), best first.
ENGINE_WEIGHTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sam": ("sam-vit-h", "sam-vit-l", "sam-vit-b"),
        "xmem": ("xmem-s012", "xmem"),
        "e2fgvi": ("e2fgvi",),
        "e2fgvi-hq": ("e2fgvi-hq",),
    }
)
