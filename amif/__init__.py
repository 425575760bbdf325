"""amif: medical visual question answering with AMiF, native to Hugging Face."""
