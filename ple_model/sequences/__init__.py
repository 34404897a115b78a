"""Time series: an encoder trained without labels, whose one embedding serves forecast, classification and anomaly heads."""
