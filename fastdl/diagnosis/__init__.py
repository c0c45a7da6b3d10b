"""What looks into training: rates, layers, uncertainty."""
