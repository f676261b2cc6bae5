"""One tree of errors. Each class carries the exit code that the command line answers with."""

from __future__ import annotations


class PipelineError(Exception):
    """An error that a user can act on.

    Args:
        message: what is wrong, where, the value found and what is allowed.
        hint: what to do about it; one sentence.
    """

    exit_code = 4

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders in Ray tasks; the default pickling loses keyword arguments.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[PipelineError], message: str, hint: str | None) -> PipelineError:
    return kind(message, hint=hint)


class ConfigError(PipelineError):
    """The configuration or the command line is wrong. All problems at once, one a line."""

    exit_code = 2


class DataRefused(PipelineError):
    """The data was refused: a file is missing, a schema or a rule is broken, nothing is left."""

    exit_code = 3


class StageFailed(PipelineError):
    """A stage could not finish its work."""

    exit_code = 4


class EngineError(PipelineError):
    """Java, Spark, Ray or RayDP could not be started, or was lost."""

    exit_code = 4


class StoreError(PipelineError):
    """The store cannot be read or written, or a published artifact is damaged."""

    exit_code = 4


class TrackingFailed(PipelineError):
    """A run could not be noted in a tracker. The run itself has not failed by that."""

    exit_code = 4


class LockedError(PipelineError):
    """Another run holds this pipeline's lock in this store."""

    exit_code = 5
