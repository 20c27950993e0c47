"""From one run folder's evidence to verdicts: nothing here saw the run, everything is read from the journal."""
