"""What an experiment will cost in hours, bytes and jobs, told before it runs."""
