"""What every room stands on: errors, terminal, files, devices, randomness.

Read: errors, console, files, cache_folder, machine, threads, devices, randomness, signals,
markdown, import_path, settings.
Imports: nothing.
"""
