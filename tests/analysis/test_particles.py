"""Korean particles after words that are filled in: names, numbers, percentages, Latin letters, closed quotes."""

from __future__ import annotations

import pytest

from analysis.particles import with_particles


@pytest.mark.parametrize(
    ("loose", "said"),
    [
        ('"적금" 이(가) 1순위', '"적금"이 1순위'),
        ("보험이(가)", "보험이"),
        ("제주이(가)", "제주가"),
        ("12.9% (으)로", "12.9%로"),
        ("3건(으)로", "3건으로"),
        ("서울(으)로", "서울로"),
        ("값 8(으)로, 6(으)로, 2(으)로", "값 8로, 6으로, 2로"),
        ("$4,200(이)라면", "$4,200라면"),
        ("US$16.50을(를)", "US$16.50를"),
        ("₩1,234을(를)", "₩1,234을"),
        ("4,200을(를)", "4,200을"),
        ("¥50,000은(는) ₩7이(가)", "¥50,000은 ₩7이"),
        ("KEB은(는)", "KEB는"),
        ("ATM을(를)", "ATM을"),
        ("과(와) 앞말 없음", "과(와) 앞말 없음"),
        ("plain text", "plain text"),
    ],
)
def test_a_particle_fits_the_word_before_it_and_is_joined_to_it(loose: str, said: str) -> None:
    assert with_particles(loose) == said
    assert with_particles(said) == said
