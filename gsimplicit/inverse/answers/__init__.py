"""What the fits decide: a verdict, parameters and how sure they are, one file a method."""
