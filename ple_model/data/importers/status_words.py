"""Words by which sources say whether a payment happened. A word that is not here, or says neither, is asked."""

from __future__ import annotations

from collections.abc import Collection

HAPPENED = frozenset(
    [
        "booked",
        "posted",
        "completed",
        "complete",
        "approved",
        "settled",
        "success",
        "successful",
        "succeeded",
        "cleared",
        "paid",
        "ok",
        "confirmed",
        "captured",
        "done",
        "normal",
        "final",
        "executed",
        "processed",
        "gebucht",
        "ausgeführt",
        "abgeschlossen",
        "completado",
        "pagado",
        "approuvé",
        "validé",
        "effectué",
        "approvato",
        "승인",
        "완료",
        "정상",
        "성공",
        "확정",
        "매입",
        "成功",
        "完了",
        "承認",
        "已完成",
        "交易成功",
    ]
)
NOT = frozenset(
    [
        "declined",
        "rejected",
        "failed",
        "failure",
        "cancelled",
        "canceled",
        "reversed",
        "voided",
        "void",
        "expired",
        "error",
        "denied",
        "blocked",
        "abgelehnt",
        "storniert",
        "fehlgeschlagen",
        "refusé",
        "annulé",
        "échoué",
        "rechazado",
        "cancelado",
        "fallido",
        "rifiutato",
        "annullato",
        "거절",
        "취소",
        "실패",
        "오류",
        "승인거절",
        "승인취소",
        "取消",
        "失敗",
        "失败",
        "拒否",
        "已取消",
        "交易失败",
    ]
)
PERHAPS = frozenset(
    [
        "pending",
        "authorised",
        "authorized",
        "authorization",
        "processing",
        "hold",
        "held",
        "open",
        "scheduled",
        "refunded",
        "refund",
        "chargeback",
        "disputed",
        "vorgemerkt",
        "offen",
        "ausstehend",
        "pendiente",
        "autorizado",
        "attente",
        "대기",
        "보류",
        "예정",
        "처리중",
        "환불",
        "保留",
        "処理中",
        "处理中",
        "退款",
    ]
)


def _bare(word: str) -> str:
    return word.strip().casefold()


def is_status(values: Collection[str]) -> bool:
    """Whether most of the few values are words of a payment's state."""
    known = [v for v in values if _bare(v) in HAPPENED | NOT | PERHAPS]
    return len(values) > 1 and 2 * len(known) > len(values)


def guess_row(value: str) -> str | None:
    """keep or drop; None: it is for a person to say."""
    if _bare(value) in HAPPENED:
        return "keep"
    return "drop" if _bare(value) in NOT else None
