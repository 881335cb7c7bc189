"""What a person sees: tables and progress for the terminal."""
