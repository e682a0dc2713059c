"""The history in Cloud Firestore."""
