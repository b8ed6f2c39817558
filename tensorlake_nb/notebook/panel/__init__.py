"""The panel's kernel side: messages, state, requests, widget."""
