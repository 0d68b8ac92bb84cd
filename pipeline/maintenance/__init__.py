"""What lies in a store: its inventory, its verification, its cleaning."""
