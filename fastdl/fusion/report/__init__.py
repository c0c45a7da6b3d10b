"""What a fusion did, as object, table, JSON and page."""
