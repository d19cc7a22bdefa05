import pytest

from connectors.patterns import selected, without_match


@pytest.mark.parametrize(
    ("patterns", "table", "expected"),
    [
        (None, "public.orders", True),
        (["public.*"], "public.orders", True),
        (["public.*"], "audit.orders", False),
        (["public.*", "!public.audit_*"], "public.audit_log", False),
        (["!public.audit_*"], "shop.orders", True),
        (["!public.audit_*"], "public.audit_log", False),
        (["public.Orders"], "public.orders", False),
        (["public.order?"], "public.orders", True),
        (["public.a", "public.b"], "public.b", True),
    ],
)
def test_a_table_is_selected_by_any_pattern_and_no_exclusion(
    patterns: list[str] | None, table: str, expected: bool
) -> None:
    assert selected(patterns, table) is expected


def test_patterns_that_find_nothing_are_named_and_exclusions_are_not() -> None:
    assert without_match(["public.a", "x.*", "!y.*"], ["public.a"]) == ["x.*"]
