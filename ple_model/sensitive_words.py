"""Facts that may be sensitive, by what columns of them are called in other people's tables and in the package's own.

The Personal Information Protection Act of Korea, art. 23, and its decree, art. 18, name belief, union and party, political
opinion, health, sexual life, genes, criminal record, biometrics and origin (from secondary sources). Of the package's columns
only those of health are such: purchases in that category, and insurance claims, many of which follow an illness. Sums over all
necessities hold health too, but tell nothing of it. Insurance claims under health and nationality under origin are this
product's own reading, not the decree's words; what the law asks for of any of them is for a bank's counsel to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ple_model.column_words import column_words, words_called


@dataclass(frozen=True)
class SensitiveKind:
    """`title`: in English and Korean; `name`: what columns of it are called."""

    title: tuple[str, str]
    name: re.Pattern[str]

    def called(self, column: str) -> bool:
        """Whether a column is called so."""
        return self.name.search(column_words(column)) is not None


SENSITIVE_KINDS: Mapping[str, SensitiveKind] = {
    "health": SensitiveKind(
        ("health", "건강"),
        words_called(
            r"health|medical|medicine|pharmac(y|ies)|hospitals?|clinics?|doctors?|diagnos[ei]s|disease|illness|disab(led|ility)|"
            r"smok(er|ing)|bmi|pregnan(t|cy)|prescriptions?|drugs?|drug_spend|care_level|"
            r"insurance_claims?|insurance_loss_ratio|raw_insurance_claim",
            "건강|의료|병원|의원|약국|진단|질병|질환|장애(?!물)|보험금|흡연|임신|체질량|요양|복약|처방",
        ),
    ),
    "belief": SensitiveKind(
        ("belief, union and party", "사상·신념, 노동조합·정당"),
        words_called(
            r"relig(ion|ious)|belief|church|faith|(?<!credit_)(?<!savings_)(?<!western_)(?<!european_)union(?!_(bank|pay))(_member\w*)?|party_member\w*|political(_\w+)?",
            "종교|신념|사상|교회|노동조합|노조|정당|정치",
        ),
    ),
    "sexual life": SensitiveKind(
        ("sexual life", "성생활"), words_called(r"sexual(_\w+)?|orientation|gender_identity", "성생활|성적_?지향")
    ),
    "genes and biometrics": SensitiveKind(
        ("genes and biometrics", "유전·생체정보"),
        words_called(r"genetic\w*|dna|biometric\w*|fingerprint|iris|face_id", "유전|생체|지문(?!서)|홍채"),
    ),
    "criminal record": SensitiveKind(
        ("criminal record", "범죄경력"), words_called(r"criminal\w*|convictions?|felony|arrests?", "범죄|전과")
    ),
    "origin": SensitiveKind(
        ("race and ethnic origin", "인종·민족"), words_called(r"race|ethnic\w*|nationality|ancestry", "인종|민족|국적")
    ),
}
"""By the names that `explanations.sensitive` may hold beside columns and groups."""
