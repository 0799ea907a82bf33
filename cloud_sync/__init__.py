"""The cloud: documents of what the gateway holds, and their way to Firebase."""
