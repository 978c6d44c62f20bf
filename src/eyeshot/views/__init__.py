"""Views of a report: terminal, exports."""
