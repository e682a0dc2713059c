"""Schemas of an import."""

from typing import Self

from pydantic import Field

from chatapp.http.api.schemas.base import ResponseBody, Translatable
from chatapp.imports.importer import Step
from chatapp.imports.report import Report


class ImportProgress(ResponseBody):
    """How far an import is."""

    checking: bool = Field(description="whether the file is being checked; nothing is stored yet")
    share: float = Field(description="of this part, from 0 to 1")
    conversations: int

    @classmethod
    def of(cls, step: Step) -> Self:
        """Return the body of a step."""
        return cls(checking=step.is_checking, share=round(step.share, 3), conversations=step.conversations)


class ImportReport(ResponseBody):
    """What an import did: a line for each count."""

    added: list[Translatable]
    left_out: list[Translatable]

    @classmethod
    def of(cls, report: Report) -> Self:
        """Return the body of a report."""
        return cls(added=list(report.sentences()), left_out=list(report.left_out()))


class ImportEvent(ResponseBody):
    """One event of an import: its progress, or its end."""

    progress: ImportProgress | None = Field(default=None, exclude_if=lambda value: value is None)
    report: ImportReport | None = Field(default=None, exclude_if=lambda value: value is None)
