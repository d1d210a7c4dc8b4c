"""What a teacher's page and two phones send to a vote."""

ANN, BEN = "ann-" * 6, "ben-" * 6
LABELS = ["·only", "·most"]
OPTIONS = [
    {"text": " only", "rank": 1, "probability": 0.25},
    {"text": " most", "rank": 0, "probability": 0.5},
]
QUESTION = {"number": 0, "step": 1, "text": "Transformers are the", "labels": LABELS}
REVEAL = {"number": 0, "options": OPTIONS, "picked": 1, "beyond": 0.25}
