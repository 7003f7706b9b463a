"""Worker processes: started, supervised, listened to, ended."""
