"""What reports and studies draw, with matplotlib."""
