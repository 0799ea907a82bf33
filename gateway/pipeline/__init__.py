"""Pure steps of a reading: decode, preprocess, place in time, roll up."""
