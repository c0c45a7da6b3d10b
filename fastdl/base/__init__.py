"""What every room stands on: objects made of their arguments, names, files, arrays, random numbers."""
