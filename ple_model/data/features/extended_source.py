"""Insurance, consultation, campaign, overseas and channel figures (84 columns)."""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, between, count, div, entropy, helper, last, net, net_share, total


def _c(name: str, unit: str, en: str, ko: str, source: str, sql: str) -> Column:
    return Column(name, unit, en, ko, source, sql)


_TREND_EN = "of the last 90 days against the 90 before, from -1 (stopped) to 1 (new)."
_TREND_KO = "최근 90일과 그 이전 90일로 비교한 값으로, -1(중단)에서 1(신규)까지입니다."


def _trend(value: str, where: str = "TRUE") -> str:
    return div(f"{total(value, last(90, where))} - {total(value, between(91, 180, where))}", total(value, last(180, where)))


_P, _CL = "role = 'premium'", "role = 'claim'"
INSURANCE = Part(
    "insurance", ("insurance",), ("ins", "count(*) > 0"), "0 and absent: no insurance record in the last 365 days",
    (
        *(_c(f"insurance_premium_{w}d", "currency", f"Insurance premiums paid in the last {w} days.",
             f"최근 {w}일 납입한 보험료입니다.", "ins",
             total("amount", last(w, _P))) for w in (28, 90, 365)),
        *(_c(f"insurance_premium_count_{w}d", "count", f"Number of premium payments in the last {w} days.",
             f"최근 {w}일 보험료 납입 건수입니다.", "ins",
             count(last(w, _P))) for w in (90, 365)),
        _c("insurance_premium_mean_365d", "currency", "Average premium payment in the last year.",
           "최근 1년 건당 평균 보험료입니다.", "ins",
           f"avg(amount) {last(365, _P)}"),
        _c("insurance_premium_max_365d", "currency", "Largest premium payment in the last year.",
           "최근 1년 가장 큰 보험료입니다.", "ins",
           f"max(amount) {last(365, _P)}"),
        _c("insurance_premium_recency_days", "days", "Days since the last premium payment.",
           "마지막 보험료 납입 후 지난 일수입니다.", "ins",
           f"min(d) {last(365, _P)}"),
        *(_c(f"insurance_claim_count_{w}d", "count", f"Number of insurance claims in the last {w} days.",
             f"최근 {w}일 보험금 청구 건수입니다.", "ins",
             count(last(w, _CL))) for w in (90, 365)),
        *(_c(f"insurance_claim_{w}d", "currency", f"Insurance claims received in the last {w} days.",
             f"최근 {w}일 보험금 금액입니다.", "ins",
             total("amount", last(w, _CL))) for w in (90, 365)),
        _c("insurance_claim_mean_365d", "currency", "Average insurance claim in the last year.",
           "최근 1년 건당 평균 보험금입니다.", "ins",
           f"avg(amount) {last(365, _CL)}"),
        _c("insurance_claim_recency_days", "days", "Days since the last insurance claim.",
           "마지막 보험금 청구 후 지난 일수입니다.", "ins",
           f"min(d) {last(365, _CL)}"),
        _c("insurance_loss_ratio_365d", "ratio", "Claims received relative to premiums paid in the last year.",
           "최근 1년 보험료 대비 보험금의 비율입니다.",
           "ins", div(total("amount", last(365, _CL)), f"sum(amount) {last(365, _P)}")),
        _c("insurance_event_count_365d", "count", "Number of insurance records of any kind in the last year.",
           "최근 1년 보험 관련 기록 수입니다.", "ins", "count(*)"),
        _c("insurance_kinds_365d", "count", "Number of kinds of insurance record in the last year.",
           "최근 1년 보험 기록 유형의 수입니다.", "ins",
           "count(DISTINCT kind)"),
        _c("insurance_kind_entropy_365d", "nats", "How evenly insurance records spread over kinds in the last year.",
           "최근 1년 보험 기록이 유형에 고르게 퍼진 정도입니다.", "inskind", entropy("n")),
        _c("insurance_first_record_days", "days", "Days since the first insurance record of the last year.",
           "최근 1년 첫 보험 기록 후 지난 일수입니다.", "ins",
           "max(d)"),
        _c("insurance_active_months", "count", "Four-week periods of the last year with an insurance record.",
           "최근 1년 중 보험 기록이 있던 4주 구간 수입니다.",
           "ins", "count(DISTINCT (d - 1) // 28)"),
        _c("insurance_premium_cv_365d", "ratio", "Irregularity of premium amounts in the last year.",
           "최근 1년 보험료 금액의 불규칙성입니다.", "ins",
           div(f"stddev_samp(amount) {last(365, _P)}", f"avg(amount) {last(365, _P)}")),
        _c("insurance_premium_trend_90d", "ratio", f"Premiums {_TREND_EN}", f"보험료를 {_TREND_KO}", "ins", _trend("amount",
           _P)),
        _c("insurance_premium_usual_gap_days", "days", "Average days between premium payments in the last year.",
           "최근 1년 보험료 납입 사이의 평균 간격입니다.",
           "ins", div(f"max(d) {last(365, _P)} - min(d) {last(365, _P)}", f"count(*) {last(365, _P)} - 1")),
        _c("insurance_premium_overdue_days", "days",
           "Days since the last premium beyond the usual gap; positive hints at a lapse.",
           "마지막 납입 후 평소 간격을 넘긴 일수로, 양수이면 실효 조짐입니다.", "ins",
           f"min(d) {last(365, _P)} - " + div(f"max(d) {last(365, _P)} - min(d) {last(365, _P)}",
           f"count(*) {last(365, _P)} - 1")),
        _c("insurance_other_count_365d", "count",
           "Insurance records other than premiums and claims in the last year, such as new contracts.",
           "최근 1년 보험료·보험금 외의 기록(신규 계약 등) 수입니다.", "ins", count("FILTER (WHERE role = 'other')")),
    ),
)  # fmt: skip

CONSULTATION = Part(
    "consultation", ("consultation",), ("con", "count(*) > 0"),
    "zeros where the table exists and the customer never called; 0 and absent where there is no table",
    (
        *(_c(f"consultation_count_{w}d", "count",
             f"Number of contacts with an adviser or the call centre in the last {w} days.",
             f"최근 {w}일 상담 건수입니다.", "con", count(last(w))) for w in (7, 28, 90, 365)),
        _c("consultation_recency_days", "days", "Days since the last contact.", "마지막 상담 후 지난 일수입니다.", "con",
           "min(d)"),
        _c("consultation_active_days_365d", "count", "Days with a contact in the last year.",
           "최근 1년 중 상담이 있었던 날의 수입니다.", "con", "count(DISTINCT d)"),
        _c("consultation_kinds_365d", "count", "Number of subjects of contact in the last year.",
           "최근 1년 상담 주제의 수입니다.", "con",
           "count(DISTINCT kind)"),
        _c("consultation_kind_entropy_365d", "nats", "How evenly contacts spread over subjects in the last year.",
           "최근 1년 상담이 주제에 고르게 퍼진 정도입니다.", "conkind", entropy("n")),
        *(_c(f"consultation_complaint_count_{w}d", "count", f"Number of complaints in the last {w} days.",
             f"최근 {w}일 불만 상담 건수입니다.", "con",
             count(last(w, "complaint"))) for w in (90, 365)),
        _c("consultation_complaint_share_365d", "share", "Share of complaints among the contacts of the last year.",
           "최근 1년 상담 중 불만의 비중입니다.",
           "con", "avg(complaint::INT)"),
        _c("consultation_complaint_recency_days", "days", "Days since the last complaint.",
           "마지막 불만 상담 후 지난 일수입니다.", "con",
           "min(d) FILTER (WHERE complaint)"),
        _c("consultation_usual_gap_days", "days", "Average days between contacts in the last year.",
           "최근 1년 상담 사이의 평균 간격입니다.", "con",
           div("max(d) - min(d)", "count(*) - 1")),
        _c("consultation_trend_90d", "ratio", f"Contacts {_TREND_EN}", f"상담 건수를 {_TREND_KO}", "con", _trend("1")),
        _c("consultation_repeat_share_365d", "share", "Share of contacts that follow another within a week, in the last year.",
           "최근 1년 상담 중 일주일 안에 다시 이뤄진 비중입니다.", "con", "avg((coalesce(gap_days, 999) <= 7)::INT)"),
        _c("consultation_top_kind_share_365d", "share", "Share of the most frequent subject in the contacts of the last year.",
           "최근 1년 상담에서 가장 잦은 주제의 비중입니다.", "conkind", div("max(n)", "sum(n)")),
        _c("consultation_amount_mean_365d", "currency", "Average amount discussed in a contact in the last year.",
           "최근 1년 상담에서 다룬 평균 금액입니다.",
           "con", "avg(amount)"),
        _c("consultation_first_contact_days", "days", "Days since the first contact of the last year.",
           "최근 1년 첫 상담 후 지난 일수입니다.", "con", "max(d)"),
    ),
    zero_known=True,
)  # fmt: skip

CAMPAIGN = Part(
    "campaign", ("campaigns",), ("camp", "count(*) > 0"), "0 and absent: no campaign shown in the last 365 days",
    (
        *(_c(f"campaign_exposures_{w}d", "count", f"Campaigns shown in the last {w} days.",
             f"최근 {w}일 노출된 캠페인 수입니다.", "camp", count(last(w)))
          for w in (28, 90, 365)),
        *(_c(f"campaign_clicks_{w}d", "count", f"Clicks on campaigns shown in the last {w} days.",
             f"최근 {w}일 노출된 캠페인의 클릭 수입니다.", "camp",
             count(last(w, "clicked"))) for w in (90, 365)),
        _c("campaign_conversions_365d", "count", "Conversions of campaigns shown in the last year.",
           "최근 1년 노출된 캠페인의 전환 수입니다.", "camp",
           count("FILTER (WHERE converted)")),
        _c("campaign_click_rate_365d", "share", "Click rate of the last year, drawn towards 4% where exposures are few.",
           "최근 1년 클릭률이며, 노출이 적으면 4% 쪽으로 보정합니다.", "camp",
           "(0.8 + count(*) FILTER (WHERE clicked)) / (20 + count(*))"),
        _c("campaign_conversion_rate_365d", "share",
           "Conversion rate of the last year, drawn towards 0.5% where exposures are few.",
           "최근 1년 전환율이며, 노출이 적으면 0.5% 쪽으로 보정합니다.", "camp",
           "(0.5 + count(*) FILTER (WHERE converted)) / (100 + count(*))"),
        _c("campaign_exposure_recency_days", "days", "Days since the last campaign was shown.",
           "마지막 캠페인 노출 후 지난 일수입니다.", "camp", "min(d)"),
        _c("campaign_click_recency_days", "days", "Days since the last click on a campaign.",
           "마지막 캠페인 클릭 후 지난 일수입니다.", "camp",
           "min(click_d) FILTER (WHERE clicked)"),
        _c("campaign_offers_365d", "count", "Number of different offers shown in the last year.",
           "최근 1년 노출된 서로 다른 제안의 수입니다.", "camp",
           "count(DISTINCT offer)"),
        _c("campaign_click_delay_hours", "hours", "Average time from showing a campaign to the click in the last year.",
           "최근 1년 캠페인 노출부터 클릭까지의 평균 시간입니다.", "camp", "avg(delay_h) FILTER (WHERE clicked)"),
    ),
)  # fmt: skip

OVERSEAS = Part(
    "overseas", ("overseas",), ("ovs", "count(*) > 0"),
    "zeros where the table exists and the customer never spent abroad; 0 and absent where there is no table",
    (
        _c("overseas_spend_90d", "currency", "Amount spent abroad in the last 90 days.", "최근 90일 해외 지출 금액입니다.",
           "ovs", total("amount", last(90))),
        _c("overseas_spend_365d", "currency", "Amount spent abroad in the last year.", "최근 1년 해외 지출 금액입니다.",
           "ovs", total("amount")),
        _c("overseas_count_365d", "count", "Number of purchases abroad in the last year.", "최근 1년 해외 구매 건수입니다.",
           "ovs", "count(*)"),
        _c("overseas_recency_days", "days", "Days since the last purchase abroad.", "마지막 해외 구매 후 지난 일수입니다.",
           "ovs", "min(d)"),
        _c("overseas_kinds_365d", "count", "Number of countries or kinds of overseas spending in the last year.",
           "최근 1년 해외 이용 국가 또는 유형의 수입니다.",
           "ovs", "count(DISTINCT kind)"),
        _c("overseas_share_365d", "share", "Spend abroad relative to all spend of the last year.",
           "최근 1년 전체 지출 중 해외 지출의 비중입니다.", "final",
           "coalesce(_overseas, 0) / nullif(coalesce(_overseas, 0) + coalesce(_card_365d, 0), 0)"),
    ),
    helpers=(helper("overseas", "ovs", "sum(amount)"), helper("card_365d", "allcard", net())),
    zero_known=True,
)  # fmt: skip

_ONLINE = "ch IN ('app', 'web')"
_CHANNELS = (
    ("store", "in person (shop or branch)", "대면(가맹점·영업점)"),
    ("app", "through the app", "앱"),
    ("web", "through the web", "웹"),
    ("contact", "through an adviser", "상담"),
)
OTHER_CHANNEL = Part(
    "other_channel", ("transactions", "sessions", "consultation"), ("touch", "count(*) > 0"),
    "0 and absent: no purchase, session or contact with a known channel in the last 365 days",
    (
        *(_c(f"channel_{s}_count_90d", "count", f"Contacts {en} in the last 90 days.",
             f"최근 90일 {ko} 이용 건수입니다.", "touch",
             count(last(90, f"ch = '{s}'"))) for s, en, ko in _CHANNELS),
        *(_c(f"channel_{s}_share_365d", "share", f"Share of all contacts of the last year that were {en}.",
             f"최근 1년 전체 채널 이용 중 {ko} 비중입니다.", "touch",
             f"avg((ch = '{s}')::INT)") for s, en, ko in _CHANNELS),
        *(_c(f"channel_{s}_recency_days", "days",
             f"Days since the last contact {en}, 365 when there was none in a year.",
             f"{ko} 마지막 이용 후 지난 일수이며, 1년간 없으면 365입니다.", "touch",
             f"coalesce(min(d) FILTER (WHERE ch = '{s}'), 365)")
          for s, en, ko in _CHANNELS),
        *(_c(f"channel_{s}_share_shift_28d", "share",
             f"Change of the share of contacts {en}, last 28 days against the last year.",
             f"{ko} 이용 비중의 변화로, 최근 28일과 최근 1년을 비교한 값입니다.", "touch",
             f"avg((ch = '{s}')::INT) {last(28)} - avg((ch = '{s}')::INT)")
          for s, en, ko in _CHANNELS),
        _c("channel_entropy_365d", "nats", "How evenly contacts spread over channels in the last year.",
           "최근 1년 이용이 채널에 고르게 퍼진 정도입니다.",
           "channel", entropy("n")),
        _c("channel_used_90d", "count", "Number of channels used in the last 90 days.", "최근 90일 이용한 채널 수입니다.",
           "touch",
           f"count(DISTINCT ch) {last(90)}"),
        _c("channel_top_share_365d", "share", "Share of the favourite channel in the contacts of the last year.",
           "최근 1년 채널 이용 중 가장 많이 쓴 채널의 비중입니다.",
           "channel", div("max(n)", "sum(n)")),
        _c("channel_switch_rate_365d", "share", "Share of contacts followed by one through another channel, last year.",
           "최근 1년 한 채널을 이용한 다음 다른 채널을 이용한 비중입니다.", "touch", "avg((ch <> prev_ch)::INT)"),
        _c("channel_digital_share_90d", "share", "Share of app and web in the contacts of the last 90 days.",
           "최근 90일 채널 이용 중 앱·웹의 비중입니다.", "touch",
           f"avg((ch IN ('app', 'web'))::INT) {last(90)}"),
        _c("channel_online_spend_share_90d", "share", "Share of the last 90 days' spend made through app or web.",
           "최근 90일 지출 중 앱·웹에서 쓴 비중입니다.",
           "allcard", net_share(last(90, _ONLINE), last(90, "ch IS NOT NULL"))),
        _c("channel_contact_count_365d", "count", "Contacts through any channel in the last year.",
           "최근 1년 전체 채널 이용 건수입니다.", "touch", "count(*)"),
    ),
)  # fmt: skip
PARTS = (INSURANCE, CONSULTATION, CAMPAIGN, OVERSEAS, OTHER_CHANNEL)
