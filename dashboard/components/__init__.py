"""Parts that several pages share: verdict cards, figures, tables, the what-if panel."""
