"""Reports of a run: report.html, report.md and results.json."""
