"""What is wrong in a source's file that concerns no address, and so is no reason to refuse it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RemarkKind(StrEnum):
    """The kinds of remarks; the values are part of the JSON and of candidate.json.

    TOTAL: the header's number of records is wrong. ASN_COUNT: a summary's number of records of AS numbers is.
    ASN_SUMMARY: that summary is missing or malformed. ASN_RECORD: a record of AS numbers is malformed. REPEATED: the
    same addresses are delegated more than once, to one country.
    """

    TOTAL = "total"
    ASN_COUNT = "asn-count"
    ASN_SUMMARY = "asn-summary"
    ASN_RECORD = "asn-record"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark; `text` is a printable line, with line numbers and counts."""

    kind: RemarkKind
    text: str
