"""The work of each verb once its words have been read, in a file of the name that its declaration above has.

Each file is imported when its verb is called: help, mistakes of typing and completion need the declarations alone, and
neither torch nor anything else that the work imports.
"""
