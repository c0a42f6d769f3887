"""What people read of a study or a comparison: one page of HTML, and its tables in Markdown and LaTeX."""
