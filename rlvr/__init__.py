"""Tasks whose answers a program can check, and the rewards made from them."""
