"""Transcripts: the points that an evaluation rests on, and how another machine verifies them."""
