"""report.html: a run, or several beside one another, as one page that needs nothing beside it."""
