"""Which labels of a file look wrong, by taggers that did not see them."""
