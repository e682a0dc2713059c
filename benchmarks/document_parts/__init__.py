"""The questions of the evaluation of retrieval: three invented house rules, written for it, in three languages."""
