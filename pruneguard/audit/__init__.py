"""What an outsider takes home and checks: `export` writes a bundle, `verify` decides every line of it again.

`verify` needs this wheel, cryptography and rfc8785, and neither the service nor its word.
"""
