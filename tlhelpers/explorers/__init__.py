"""Panels with controls and a picture that answers: augmentation, mixing, freezing, schedules, predictions.

Each explorer is one file beside this one; `panel` holds what they share. With ipywidgets they move, without they show
their first picture.
"""
