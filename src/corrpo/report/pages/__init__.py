"""The pages and files of reports: HTML that needs nothing but itself, and Markdown."""
