"""Everything that can go wrong and is worth telling a person about.

TamEditError                 the message says what, where and what to do next
├── UsageError               the call itself is wrong (exit status 2)
├── SourceError              the clip that is read
│   ├── SourceMissing            it is not where the project says
│   ├── SourceUnreadable         it cannot be opened or decoded
│   ├── SourceChanged            its digest is no longer the project's
│   ├── NoVideoStream            nothing in it can be edited
│   ├── ClipEmpty                its video stream holds no frame
│   └── ClipTruncated            it breaks off; what could be read is named
├── ScriptError              edit.json or a job file says something impossible
├── PromptError              a point, box or mask that cannot be meant
├── MaskError                a mask or label map that does not fit
│   ├── MaskEmpty                no pixel where some are needed
│   └── MaskSizeMismatch         another size than the frame's
├── OutputError              the file that is written
│   ├── OutputIsSource           it would overwrite what it is made from
│   ├── OutputUnwritable         no permission, no folder, no room
│   └── ContainerUnknown         no container or codec of this name
├── StoreError               the cache on disk
│   └── ProjectBusy              another process works on the project
├── WeightsError             checkpoints
│   ├── WeightsMissing           not installed
│   ├── WeightsMismatch          missing, unexpected or wrongly shaped tensors
│   └── WeightsUnsafe            the file holds code, or not the catalogue's bytes
├── EngineError              an engine that cannot run as asked
└── Cancelled                stopped by a person; finished chunks are kept
"""

from __future__ import annotations


class TamEditError(Exception):
    """The root: catch this to catch whatever tam-edit reports on purpose."""

    exit_status = 1


class UsageError(TamEditError):
    exit_status = 2


class SourceError(TamEditError):
    pass


class SourceMissing(SourceError):
    pass


class SourceUnreadable(SourceError):
    pass


class SourceChanged(SourceError):
    pass


class NoVideoStream(SourceError):
    pass


class ClipEmpty(SourceError):
    pass


class ClipTruncated(SourceError):
    pass


class ScriptError(TamEditError):
    pass


class PromptError(TamEditError):
    exit_status = 2


class MaskError(TamEditError):
    pass


class MaskEmpty(MaskError):
    pass


class MaskSizeMismatch(MaskError):
    pass


class OutputError(TamEditError):
    pass


class OutputIsSource(OutputError):
    pass


class OutputUnwritable(OutputError):
    pass


class ContainerUnknown(OutputError):
    pass


class StoreError(TamEditError):
    pass


class ProjectBusy(StoreError):
    pass


class WeightsError(TamEditError):
    pass


class WeightsMissing(WeightsError):
    pass


class WeightsMismatch(WeightsError):
    pass


class WeightsUnsafe(WeightsError):
    pass


class EngineError(TamEditError):
    pass


class Cancelled(TamEditError):
    """Raised between chunks when a person or a signal asks to stop."""


def is_want_of_memory(error: BaseException) -> bool:
    """Whether an error of whatever library means that there was no memory left; each has an error of its own."""
    words = str(error).lower()
    signs = (
        "insufficient memory",
        "not enough memory",
        "cannot allocate memory",
        "can't start new thread",
        "failed to map segment",
        "bad alloc",
    )
    return isinstance(error, MemoryError) or any(sign in words for sign in signs)
