"""The scenario mixed: a day in the life, its visitors, its voters and its administrator, and who is owed what at any moment."""
