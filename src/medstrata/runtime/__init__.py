"""What all other rooms use: errors, terminal, files, devices, randomness.

Read: errors, console, files, cache_folder, machine, threads, memory, distributed, devices,
randomness, torch_generator, signals, markdown, import_path, settings.
Imports: nothing.
"""
