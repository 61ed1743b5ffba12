"""Made files and requests that mean harm or are merely broken, each with the answer that they are to get."""
