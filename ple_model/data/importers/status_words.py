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


STEMS: dict[str, tuple[str, ...]] = {
    "keep": (
        "confirm", "aprob", "aprov", "approv", "approuv", "liquidad", "efetivad", "conclu", "pago", "pagat", "contabiliz",
        "effectu", "complet", "zaksięgowan", "zrealizowan", "rozliczon", "voltooid", "verwerkt", "onaylan", "исполн", "провед",
        "подтвержд",
    ),
    "drop": (
        "negad", "negat", "recusad", "rejeitad", "rechaz", "denegad", "refus", "rifiut", "estornad", "stornat", "cancelad",
        "anulad", "annul", "anulowan", "odrzucon", "fallid", "falhad", "rejet", "geweiger", "geannul", "reddedil", "iptal",
        "отклон", "отказ", "отмен", "declin", "reject", "cancel", "revers",
    ),
    "?": ("pendent", "pendient", "processa", "attesa", "attente", "oczekuj", "openstaand", "beklem", "обработ", "author"),
}  # fmt: skip
"""How such words begin in other languages, whatever their ending."""
HEADERS = ("status", "situação", "situacao", "stato", "statut", "durum", "статус", "상태", "状態", "状态")
"""Headers of a column that says whether a payment happened."""


def _meaning(word: str) -> str | None:
    """keep, drop or ? (perhaps); None for a word that is not known."""
    bare = _bare(word)
    listed = next((k for k, words in (("keep", HAPPENED), ("drop", NOT), ("?", PERHAPS)) if bare in words), None)
    return listed or next((k for k in ("drop", "?", "keep") if bare.startswith(STEMS[k])), None)


def names_status(header: str) -> bool:
    """Whether a header says that its column is a payment's state."""
    return any(piece in header.casefold() for piece in HEADERS)


def _bare(word: str) -> str:
    return word.strip().casefold()


def is_status(values: Collection[str]) -> bool:
    """Whether most of the few values are words of a payment's state."""
    known = [v for v in values if _meaning(v) is not None]
    return len(values) > 1 and 2 * len(known) > len(values)


def guess_row(value: str) -> str | None:
    """keep or drop; None: it is for a person to say."""
    meaning = _meaning(value)
    return None if meaning == "?" else meaning
