"""Payments as banks of many countries export them: headers, shops and categories in the language, and its usual encodings."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class Language:
    """Words of one language's exports: card, day, amount, shop and category as headers, shops, categories."""

    header: tuple[str, str, str, str, str]
    shops: tuple[str, ...]
    categories: tuple[str, ...]

    def text(self, rows: int = 60, seed: int = 0) -> str:
        """A file with this many payments of 12 cards."""
        rng = random.Random(seed)
        lines = [";".join(self.header)]
        for k in range(rows):
            day = date(2023, 1, 1) + timedelta(days=rng.randrange(365))
            amount = round(rng.lognormvariate(3, 1), 2)
            lines.append(f"{k % 12:06d};{day};{amount};{rng.choice(self.shops)};{rng.choice(self.categories)}")
        return "\r\n".join(lines) + "\r\n"


LANGUAGES = {
    "korean": Language(
        ("카드번호", "이용일자", "이용금액", "가맹점명", "업종"),
        ("스타벅스 강남점", "이마트 성수점", "본죽 대전점", "올리브영 명동", "김밥천국", "교보문고 광화문점", "현대오일뱅크"),
        ("한식", "커피전문점", "편의점", "대중교통", "온라인쇼핑"),
    ),
    "japanese": Language(
        ("カード番号", "利用日", "金額", "加盟店", "分類"),
        ("スターバックス渋谷店", "セブン-イレブン", "ユニクロ銀座店", "東急ハンズ", "すき家 新宿", "紀伊國屋書店", "東京ガス"),
        ("食料品", "飲食", "衣料品", "交通", "書籍"),
    ),
    "chinese": Language(
        ("卡号", "交易日期", "金额", "商户名称", "类别"),
        ("星巴克国贸店", "家乐福超市", "海底捞火锅", "中国石化加油站", "新华书店", "京东商城", "全聚德烤鸭店"),
        ("餐饮", "超市购物", "交通出行", "图书", "服装"),
    ),
    "taiwanese": Language(
        ("卡號", "交易日期", "金額", "商店名稱", "類別"),
        ("星巴克信義門市", "全聯福利中心", "鼎泰豐", "台灣中油", "誠品書店", "統一超商", "家樂福內湖店"),
        ("餐飲", "超市購物", "交通", "圖書", "服飾"),
    ),
    "russian": Language(
        ("Номер карты", "Дата операции", "Сумма", "Магазин", "Категория"),
        ("Пятёрочка", "Перекрёсток", "Лукойл АЗС 214", "Аптека 36,6", "Кофейня Шоколадница", "Детский мир", "Книжный дом"),
        ("Продукты", "Рестораны", "Топливо", "Здоровье", "Одежда"),
    ),
    "german": Language(
        ("Karte", "Buchungstag", "Betrag", "Händler", "Kategorie"),
        ("Bäckerei Müller", "Getränke Hoffmann", "Möbel Höffner", "Straßenbahn Köln", "Café Größenwahn", "dm Drogerie"),
        ("Lebensmittel", "Gaststätte", "Öffentlicher Verkehr", "Bücher", "Schuhe und Kleidung"),
    ),
    "french": Language(
        ("Carte", "Date d'opération", "Montant", "Commerçant", "Catégorie"),
        (
            "Boulangerie du Château",
            "Café de la Gare",
            "Pâtisserie Rémy",
            "Hôtel Étoile",
            "Librairie Molière",
            "Épicerie d'Agnès",
        ),
        ("Alimentation", "Santé", "Énergie", "Vêtements", "Éducation"),
    ),
    "french with ligatures": Language(
        ("Carte", "Date d'opération", "Montant (€)", "Commerçant", "Catégorie"),
        ("Sœurs Lumière", "Le Cœur de Bœuf", "Œuvres et Métiers", "Café de la Gare", "Hôtel Étoile", "Pâtisserie Rémy"),
        ("Alimentation", "Santé", "Énergie", "Vêtements", "Bœuf et volaille"),
    ),
    "spanish": Language(
        ("Tarjeta", "Fecha", "Importe", "Comercio", "Categoría"),
        (
            "Panadería Núñez",
            "Farmacia Peña",
            "El Corte Inglés",
            "Estación de Atocha",
            "Librería Cervantes",
            "Cafetería Sánchez",
        ),
        ("Alimentación", "Niños", "Educación", "Transporte público", "Salud"),
    ),
    "portuguese": Language(
        ("Cartão", "Data", "Valor", "Estabelecimento", "Categoria"),
        ("Padaria São João", "Farmácia Conceição", "Pão de Açúcar", "Livraria Leitão", "Estação Rossio", "Açougue Irmãos"),
        ("Alimentação", "Saúde", "Educação", "Transporte público", "Vestuário"),
    ),
    "swedish": Language(
        ("Kort", "Bokföringsdag", "Belopp", "Butik", "Kategori"),
        ("Åhléns Göteborg", "Hemköp Malmö", "Systembolaget Växjö", "Apoteket Hjärtat", "Västtrafik", "Bröd och Kärlek"),
        ("Livsmedel", "Hälsa", "Kläder", "Böcker", "Nöje"),
    ),
    "polish": Language(
        ("Numer karty", "Data księgowania", "Kwota", "Sklep", "Kategoria"),
        (
            "Żabka Łódź",
            "Piekarnia Świeży Chleb",
            "Księgarnia Źródło",
            "Stacja Paliw Orlen Gdańsk",
            "Apteka Pod Lwem",
            "Kraków Główny",
        ),
        ("Żywność", "Książki", "Odzież", "Zdrowie", "Usługi"),
    ),
    "czech": Language(
        ("Číslo karty", "Datum", "Částka", "Obchodník", "Kategorie"),
        (
            "Pekařství Dvořák",
            "Lékárna U Lva",
            "Potraviny Žižkov",
            "Čerpací stanice Plzeň",
            "Knihkupectví Jíří",
            "Řeznictví Šťastný",
        ),
        ("Potraviny", "Zdraví", "Oblečení", "Vzdělání", "Cestování"),
    ),
    "hungarian": Language(
        ("Kártyaszám", "Dátum", "Összeg", "Kereskedő", "Kategória"),
        ("Közért Győr", "Sütőipari Kft", "Gyógyszertár Főtér", "Könyvesbolt Líra", "MÁV Pályaudvar", "Éttermi Csülök"),
        ("Élelmiszer", "Egészség", "Ruházat", "Könyv", "Szórakozás"),
    ),
    "greek": Language(
        ("Αριθμός κάρτας", "Ημερομηνία", "Ποσό", "Κατάστημα", "Κατηγορία"),
        ("Φούρνος Βενέτη", "Σκλαβενίτης", "Φαρμακείο Αθηνών", "Βιβλιοπωλείο Πρωτοπορία", "Καφέ Θησείο", "Ταβέρνα Πλάκα"),
        ("Τρόφιμα", "Υγεία", "Ρούχα", "Βιβλία", "Μεταφορές"),
    ),
    "turkish": Language(
        ("Kart numarası", "İşlem tarihi", "Tutar", "İşyeri", "Kategori"),
        (
            "Şok Market Beşiktaş",
            "Migros Kadıköy",
            "Eczane Güneş",
            "Kitabevi Işık",
            "Çiçek Sepeti",
            "Köfteci Yusuf",
            "Doğuş Otogaz",
        ),
        ("Gıda", "Sağlık", "Ulaşım", "Giyim", "Eğitim"),
    ),
    "lithuanian": Language(
        ("Kortelės numeris", "Data", "Suma", "Parduotuvė", "Kategorija"),
        ("Maxima Žirmūnai", "Vaistinė Gintarinė", "Kepyklėlė Šventė", "Knygynas Pegasas", "Degalinė Circle K", "Čili Pica"),
        ("Maistas", "Sveikata", "Drabužiai", "Knygos", "Kelionės"),
    ),
    "hebrew": Language(
        ("מספר כרטיס", "תאריך", "סכום", "בית עסק", "קטגוריה"),
        ("שופרסל דיל", "סופר פארם", "רמי לוי", "צומת ספרים", "קפה לנדוור", "תחנת דלק פז"),
        ("מזון", "בריאות", "ביגוד", "ספרים", "תחבורה"),
    ),
    "arabic": Language(
        ("رقم البطاقة", "التاريخ", "المبلغ", "المتجر", "الفئة"),
        ("أسواق التميمي", "صيدلية النهدي", "مكتبة جرير", "محطة الوقود", "مقهى السلام", "مطعم البيك"),
        ("بقالة", "صحة", "ملابس", "كتب", "مواصلات"),
    ),
    "thai": Language(
        ("หมายเลขบัตร", "วันที่", "จำนวนเงิน", "ร้านค้า", "หมวดหมู่"),
        ("เซเว่นอีเลฟเว่น", "ร้านขายยาสุขภาพ", "ห้างสรรพสินค้ากลาง", "ร้านหนังสือนายอินทร์", "ปั๊มน้ำมัน ปตท", "ร้านกาแฟ"),
        ("อาหาร", "สุขภาพ", "เสื้อผ้า", "หนังสือ", "การเดินทาง"),
    ),
}
