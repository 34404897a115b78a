"""Checks: statistics in, findings out. One small function per check, by area; nothing here draws or imports torch."""

from analysis.checks.finding import Evidence, Finding, Fix, Severity
from analysis.checks.registry import Check, checks, run_checks
from analysis.checks.thresholds import Thresholds

__all__ = ["Check", "Evidence", "Finding", "Fix", "Severity", "Thresholds", "checks", "run_checks"]
