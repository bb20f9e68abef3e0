"""The run report: one self-contained HTML file built from a run folder and nothing else."""

from agents.report.build import build_report
from agents.report.source import ReportError

__all__ = ["ReportError", "build_report"]
