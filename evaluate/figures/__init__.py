"""Figures of reports and studies, drawn with matplotlib."""
