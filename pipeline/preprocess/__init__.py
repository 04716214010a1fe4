"""Raw log to examples, as one Beam job."""
