"""What all other rooms use: errors, terminal, files, devices, randomness.

Read: errors, harmless, console, files, documents, lock, cache_folder, machine, threads, memory,
distributed, precision, devices, forecast, randomness, random_state, process_state, signals,
markdown, import_path, optional, settings, patient_key.
Imports: nothing.
"""
