"""Models from elsewhere: pulled, tried, run in shadow, activated, watched, rolled back."""
