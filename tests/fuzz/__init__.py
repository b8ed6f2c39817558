"""The readers of everything stored, fed with what is nearly right: only our own errors come out, in bounded memory."""
