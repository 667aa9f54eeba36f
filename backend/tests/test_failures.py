import re
from pathlib import Path

from app.failures import FAILURES, as_markdown, describe, lookup

REPOSITORY = Path(__file__).resolve().parents[2]


def test_documentation_holds_the_same_table() -> None:
    assert as_markdown() in (REPOSITORY / "docs" / "failures.md").read_text(encoding="utf-8")


def test_codes_are_what_the_contract_allows() -> None:
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]{2,39}", code) for code in FAILURES)


def test_out_of_memory_is_never_retried() -> None:
    assert not FAILURES["OUT_OF_MEMORY"].retryable


def test_own_code_of_a_trainer_is_not_retried() -> None:
    assert not lookup("LENS_DIRTY").retryable


def test_hint_of_the_trainer_wins() -> None:
    assert describe("DISK_FULL", "no space", "empty the bin")["hint"] == "empty the bin"
    assert "traceback" not in describe("DISK_FULL", "no space")
