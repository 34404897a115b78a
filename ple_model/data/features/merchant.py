"""Merchant hierarchy: industries, sub-industries, brands, merchants and places (21 columns)."""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, div, entropy


def _c(name: str, unit: str, en: str, ko: str, source: str, sql: str) -> Column:
    return Column(name, unit, en, ko, source, sql)


_ABSENT = "0 and absent: no purchase with a known {} in the last 365 days"

MCC_L1 = Part(
    "mcc_l1", ("transactions",), ("l1", "count(*) > 0"), _ABSENT.format("industry"),
    (
        _c("mcc_l1_count_365d", "count", "Number of industries shopped in during the last year.",
           "최근 1년 이용한 업종 대분류의 수입니다.", "l1", "count(*)"),
        _c("mcc_l1_new_90d", "count", "Industries shopped in for the first time of the year in the last 90 days.",
           "최근 90일에 그해 처음 이용한 업종 대분류의 수입니다.", "l1", "count(*) FILTER (WHERE first_d <= 90)"),
        _c("mcc_l1_visit_hhi_180d", "share",
           "Concentration of visits on few industries in the last 180 days: 1 means a single one.",
           "최근 180일 방문이 소수 업종에 집중된 정도로, 1은 한 업종뿐임을 뜻합니다.", "l1", div("sum(n180 * n180)",
           "sum(n180) * sum(n180)")),
        _c("mcc_l1_switch_rate_365d", "share", "How often one purchase is followed by one in another industry, last year.",
           "최근 1년 한 구매 다음에 다른 업종의 구매가 이어지는 빈도입니다.", "seq", "avg((l1 <> prev_l1)::INT)"),
    ),
)  # fmt: skip
MCC_L2 = Part(
    "mcc_l2", ("transactions",), ("l2", "count(*) > 0"), _ABSENT.format("sub-industry"),
    (
        _c("mcc_l2_count_90d", "count", "Number of sub-industries shopped in during the last 90 days.",
           "최근 90일 이용한 업종 중분류의 수입니다.", "l2",
           "count(*) FILTER (WHERE n90 > 0)"),
        _c("mcc_l2_entropy_90d", "nats", "How evenly spend spreads over sub-industries in the last 90 days.",
           "최근 90일 지출이 업종 중분류에 고르게 퍼진 정도입니다.",
           "l2", entropy("s90")),
        _c("mcc_l2_top_share_90d", "share", "Share of the biggest sub-industry in the spend of the last 90 days.",
           "최근 90일 지출에서 가장 큰 업종 중분류의 비중입니다.", "l2", div("max(s90)", "sum(s90)")),
        _c("mcc_l2_new_90d", "count", "Sub-industries shopped in for the first time of the year in the last 90 days.",
           "최근 90일에 그해 처음 이용한 업종 중분류의 수입니다.", "l2", "count(*) FILTER (WHERE first_d <= 90)"),
    ),
)  # fmt: skip
BRAND = Part(
    "merchant_brand", ("transactions",), ("brand", "count(*) > 0"), _ABSENT.format("brand"),
    (
        _c("brand_count_90d", "count", "Number of brands bought in the last 90 days.", "최근 90일 이용한 브랜드 수입니다.",
           "brand",
           "count(*) FILTER (WHERE n90 > 0)"),
        _c("brand_entropy_90d", "nats", "How evenly spend spreads over brands in the last 90 days.",
           "최근 90일 지출이 브랜드에 고르게 퍼진 정도입니다.", "brand",
           entropy("s90")),
        _c("brand_top_share_90d", "share", "Share of the biggest brand in the spend of the last 90 days.",
           "최근 90일 지출에서 가장 큰 브랜드의 비중입니다.", "brand",
           div("max(s90)", "sum(s90)")),
        _c("brand_loyalty_90d", "share", "Share of the last 90 days' visits to brands that were known before.",
           "최근 90일 방문 중 전부터 이용하던 브랜드의 비중입니다.",
           "brand", div("coalesce(sum(n90) FILTER (WHERE first_d > 90), 0)", "sum(n90)")),
        _c("brand_new_90d", "count", "Brands bought for the first time of the year in the last 90 days.",
           "최근 90일에 그해 처음 이용한 브랜드 수입니다.", "brand",
           "count(*) FILTER (WHERE first_d <= 90)"),
        _c("brand_switch_rate_365d", "share",
           "How often the next purchase in the same category goes to another brand, last year.",
           "최근 1년 같은 업종의 다음 구매에서 브랜드가 바뀐 비중입니다.", "seq", "avg((brand <> prev_brand)::INT)"),
        _c("brand_favourite_recency_days", "days", "Days since the last purchase of the most visited brand of the year.",
           "최근 1년 가장 자주 찾은 브랜드의 마지막 구매 후 지난 일수입니다.", "brand", "arg_min(last_d, (-n365, last_d))"),
        _c("brand_repeat_share_365d", "share", "Share of brands bought more than once in the last year.",
           "최근 1년 이용한 브랜드 중 두 번 이상 산 비중입니다.",
           "brand", "avg((n365 > 1)::INT)"),
    ),
)  # fmt: skip
STATS = Part(
    "merchant_stats", ("transactions",), ("mer", "count(*) > 0"), _ABSENT.format("merchant"),
    (
        _c("merchant_count_90d", "count", "Number of merchants visited in the last 90 days.",
           "최근 90일 방문한 가맹점 수입니다.", "mer",
           "count(*) FILTER (WHERE n90 > 0)"),
        _c("merchant_top_share_90d", "share", "Share of the favourite merchant in the spend of the last 90 days.",
           "최근 90일 지출에서 단골 가맹점의 비중입니다.",
           "mer", div("max(s90)", "sum(s90)")),
        _c("merchant_repeat_share_365d", "share", "Share of merchants visited more than once in the last year.",
           "최근 1년 방문한 가맹점 중 두 번 이상 찾은 비중입니다.", "mer", "avg((n365 > 1)::INT)"),
        _c("merchant_new_share_90d", "share", "Share of the merchants of the last 90 days that are new this year.",
           "최근 90일 방문한 가맹점 중 그해 처음 찾은 비중입니다.", "mer", div("count(*) FILTER (WHERE first_d <= 90)",
           "count(*) FILTER (WHERE n90 > 0)")),
    ),
)  # fmt: skip
RADIUS = Part(
    "radius", ("transactions", "merchants"), ("place", "count(*) > 0"), _ABSENT.format("merchant region"),
    (
        _c("merchant_activity_radius", "count",
           "Effective number of regions the customer shops in: 1 means a single place, more means travelling.",
           "고객이 구매하는 지역의 유효 개수로, 1이면 한 곳, 클수록 이동이 많습니다.", "place", f"exp({entropy('n')})"),
    ),
)  # fmt: skip
PARTS = (MCC_L1, MCC_L2, BRAND, STATS, RADIUS)
