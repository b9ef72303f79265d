"""What an ingest did, in numbers: read, kept, rejected, left out, counted once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class IngestSummary:
    """What `ingest` did.

    `read == kept + rejected + left_out + duplicates` holds, where `rejected` and `left_out`
    are summed over their reasons.

    Attributes:
        out: the payments file.
        rejects_file: the file of rejects, made even when it is empty.
        files: raw files read.
        files_given_twice: raw files passed over because their bytes were given before.
        read: rows read.
        kept: payments written.
        rejected: reason -> rows; they count towards the largest share of rejects.
        left_out: reason -> rows that a rule of the mapping leaves out; they do not count.
        duplicates: rows not written because the payment is there already.
        conflicts: payment ids that came with different contents (one of them was kept).
        ambiguous_times: kept payments whose local time happened twice (the earlier one is taken).
        skipped_times: kept payments whose local time never happened (moved on by the gap).
        users, merchants: distinct ones.
        first, last: instants of the first and the last payment, UTC.
        currency: the one currency; empty when the source names none.
    """

    out: Path
    rejects_file: Path
    files: int
    files_given_twice: int
    read: int
    kept: int
    rejected: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    conflicts: int = 0
    ambiguous_times: int = 0
    skipped_times: int = 0
    users: int = 0
    merchants: int = 0
    first: datetime | None = None
    last: datetime | None = None
    currency: str = ""

    def rows(self) -> list[tuple[str, str]]:
        """The summary as (words, value), in the order to show it."""
        lines = [
            ("files read", f"{self.files:,}"),
            ("files given twice", f"{self.files_given_twice:,}"),
            ("rows read", f"{self.read:,}"),
            ("payments kept", f"{self.kept:,}"),
            ("duplicates", f"{self.duplicates:,}"),
            ("payment ids with two contents", f"{self.conflicts:,}"),
            *reasons(self.rejected, self.left_out),
            ("users", f"{self.users:,}"),
            ("merchants", f"{self.merchants:,}"),
            ("dates", date_range(self.first, self.last)),
            ("currency", self.currency or "not named"),
            ("ambiguous local times", f"{self.ambiguous_times:,}"),
            ("local times that do not exist", f"{self.skipped_times:,}"),
            ("written to", str(self.out)),
            ("rejects in", str(self.rejects_file)),
        ]
        quiet = {
            "files given twice",
            "payment ids with two contents",
            "ambiguous local times",
            "local times that do not exist",
        }
        return [(words, value) for words, value in lines if value != "0" or words not in quiet]


@dataclass(frozen=True)
class LabelsSummary:
    """What `ingest_labels` did.

    Attributes:
        out: the labels file.
        rejects_file: the file of rejects, made even when it is empty.
        label: the label that was chosen.
        meaning: what label 1 means, in words.
        proxy: true when it stands in for a default and is none.
        read, kept: rows read, samples written.
        rejected: reason -> rows.
        duplicates: rows that say again what another row said.
        users: distinct ones.
        bad: samples with label 1.
        first, last: the first and the last cutoff, UTC.
    """

    out: Path
    rejects_file: Path
    label: str
    meaning: str
    proxy: bool
    read: int
    kept: int
    rejected: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    users: int = 0
    bad: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def rows(self) -> list[tuple[str, str]]:
        """The summary as (words, value), in the order to show it."""
        kind = " (a proxy, not a default)" if self.proxy else ""
        return [
            ("label", f"{self.label}: {self.meaning}{kind}"),
            ("rows read", f"{self.read:,}"),
            ("samples kept", f"{self.kept:,}"),
            ("duplicates", f"{self.duplicates:,}"),
            *reasons(self.rejected, {}),
            ("users", f"{self.users:,}"),
            ("label 1", f"{self.bad:,} ({self.bad / self.kept:.1%})" if self.kept else "0"),
            ("cutoffs", date_range(self.first, self.last)),
            ("written to", str(self.out)),
            ("rejects in", str(self.rejects_file)),
        ]


def reasons(rejected: dict[str, int], left_out: dict[str, int]) -> list[tuple[str, str]]:
    """Counts by reason, most frequent first."""
    lines = [("rejected", f"{sum(rejected.values()):,}")]
    for counts in (rejected, left_out):
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            words = reason if counts is left_out else f"rejected: {reason}"
            lines.append((words, f"{count:,}"))
    return lines


def date_range(first: datetime | None, last: datetime | None) -> str:
    """The dates of the first and the last, in UTC."""
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}" if first and last else "none"
