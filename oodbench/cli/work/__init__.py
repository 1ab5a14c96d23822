"""What each verb does once its words have been read: a file a verb.

Each is imported when its verb is called, so that help, mistakes of typing and completion, which the files above read,
take neither torch nor anything else that the work does.
"""
