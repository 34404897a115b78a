"""Where completejourney's departments and product categories go among the 12 spending categories.

The retailer sells groceries above all: a product category named below goes where it says, else its department's default
applies, else `services`. Departments that sell fuel, meals or travel keep their default whatever the product category.
The source's own product category and product type stay as `mcc_l2` and `mcc`.
"""

from __future__ import annotations

DEPARTMENTS: dict[str, str] = {
    "GROCERY": "groceries", "PRODUCE": "groceries", "MEAT": "groceries", "MEAT-PCKGD": "groceries", "DELI": "groceries",
    "PASTRY": "groceries", "SEAFOOD": "groceries", "SEAFOOD-PCKGD": "groceries", "NUTRITION": "groceries",
    "SPIRITS": "groceries", "FROZEN GROCERY": "groceries", "PROD-WHS SALES": "groceries", "SALAD BAR": "dining",
    "RESTAURANT": "dining", "CHEF SHOPPE": "dining", "FUEL": "fuel and transport", "AUTOMOTIVE": "fuel and transport",
    "DRUG GM": "health", "COSMETICS": "health", "FLORAL": "home", "GARDEN CENTER": "home", "HOUSEWARES": "home",
    "GM MERCH EXP": "home", "ELECT &PLUMBING": "home", "TOYS": "leisure", "TRAVEL & LEISURE": "travel",
    "PHOTO & VIDEO": "electronics", "POSTAL CENTER": "services", "COUPON": "services", "MISCELLANEOUS": "services",
    "CNTRL/STORE SUP": "services", "CHARITABLE CONT": "services",
}  # fmt: skip

_BY_CATEGORY: dict[str, tuple[str, ...]] = {
    "groceries": (
        "CANDY - CHECKLANE", "CANDY - PACKAGED", "BABY FOODS", "INFANT FORMULA", "CIGARETTES", "CIGARS", "TOBACCO OTHER",
        "COFFEE FILTERS",
    ),
    "dining": (
        "PREPARED FOOD", "SANDWICHES", "SUSHI", "PARTY TRAYS", "BAKERY PARTY TRAYS", "SERVICE BEVERAGE",
    ),
    "fuel and transport": (
        "AUTOMOTIVE PRODUCTS",
    ),
    "clothing": (
        "HOSIERY/SOCKS", "APPAREL", "SHOE CARE", "SEWING",
    ),
    "home": (
        "BATH TISSUES", "FACIAL TISS/DNR NAPKIN", "PAPER TOWELS", "PAPER HOUSEWARES", "FD WRAPS/BAGS/TRSH BG",
        "LAUNDRY DETERGENTS", "LAUNDRY ADDITIVES", "DISHWASH DETERGENTS", "HOUSEHOLD CLEANG NEEDS", "BLEACH", "AIR CARE",
        "CAT FOOD", "DOG FOODS", "CAT LITTER", "PET CARE SUPPLIES", "BIRD SEED", "BROOMS AND MOPS", "PLASTIC HOUSEWARES",
        "KITCHEN GADGETS", "COOKWARE & BAKEWARE", "HARDWARE SUPPLIES", "ELECTRICAL SUPPPLIES", "DOMESTIC GOODS",
        "CANDLES/ACCESSORIES", "GLASSWARE & DINNERWARE", "HOME FURNISHINGS", "LAWN AND GARDEN SHOP",
        "CHARCOAL AND LIGHTER FLUID", "DISPOSIBLE FOILWARE", "INSECTICIDES", "IRONING AND CHEMICALS",
        "HOME FREEZING & CANNING SUPPLY", "CHRISTMAS  SEASONAL", "SPRING/SUMMER SEASONAL", "FALL AND WINTER SEASONAL",
        "EASTER", "HALLOWEEN", "VALENTINE", "J-HOOKS", "DOLLAR VALUE PRODUCTS", "CONTINUITIES",
    ),
    "health": (
        "VITAMINS", "NATURAL VITAMINS", "NATURAL HBC", "FITNESS&DIET",
    ),
    "leisure": (
        "TOYS AND GAMES", "MAGAZINE", "NEWSPAPER", "TICKETS", "SPORTS MEMORABLILIA", "FIREWORKS",
        "GREETING CARDS/WRAP/PARTY SPLY",
    ),
    "electronics": (
        "AUDIO/VIDEO PRODUCTS", "BATTERIES", "FILM AND CAMERA PRODUCTS", "PORTABLE ELECTRIC APPLIANCES",
        "PERSONAL CARE APPLIANCES",
    ),
    "education": (
        "BOOKSTORE", "STATIONERY & SCHOOL SUPPLIES",
    ),
    "services": (
        "PREPAID WIRELESS&ACCESSORIES", "LONG DISTANCE CALLING CARDS", "IN-STORE PHOTOFINISHING",
        "OVERNIGHT PHOTOFINISHING",
    ),
}  # fmt: skip

PRODUCT_CATEGORIES: dict[str, str] = {name: target for target, names in _BY_CATEGORY.items() for name in names}
"""Product category -> spending category, where it differs from the department's."""
