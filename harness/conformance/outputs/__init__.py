"""A gate's result for its readers: functions from the result to text, one format a module; none of them judges anything."""
