"""Drills: what breaks software, many times over, seeded; each reports counts. A few of each kind run with the tests.

python -m tests.drills.settings    mutated settings, config files and flags
python -m tests.drills.kills       trainings killed at random moments, resumed, compared bit for bit
python -m tests.drills.app_kills   the app's server, its trainings, studies and builds of data killed at random moments
python -m tests.drills.disk_full   a disk that fills up, in every command that writes
python -m tests.drills.races       two starts of one run, at the same moment
"""
