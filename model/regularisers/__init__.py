"""What holds weights or answers of earlier tasks while a new one is learned, one regulariser a module."""
