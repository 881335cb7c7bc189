"""A job's rounds: who computes what, until every shard is in. Pure: answers in, calls out."""
